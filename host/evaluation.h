/* evaluation.h - how a test likelihood is told, as a line and as JSON. */
#ifndef HOST_EVALUATION_H
#define HOST_EVALUATION_H
#include <jansson.h>
#include <stdio.h>
#include "train.h"

/* "test 2.9123 bits/dim, -2069.12 nats a row, 10000 rows (an upper bound of ...)" */
void evaluation_print(FILE *, const char *split, const struct evaluation *);
/* The same as an object, or NULL when out of memory. The caller decrefs. */
json_t *evaluation_json(const char *split, const struct evaluation *);
/* A number, or null when it is not finite. */
json_t *evaluation_number(double);
#endif
