/* port.h - rows in and out of a program's inputs and outputs. Rows are dense, of the program's real
 * type. */
#ifndef HOST_PORT_H
#define HOST_PORT_H
#include "program.h"

/* The batch of a program that is to serve n rows: parts of equal size, none large. */
int64_t port_batch(int64_t n);
/* Bytes of one row of an input or output. */
size_t port_row_bytes(const struct tensor *);
/* Sets an input to n rows, and those beyond n, up to its batch, to copies of the last. n >= 1. */
glow_status port_write(const struct program *, const struct tensor *, int64_t n, const void *rows);
#endif
