/* latents.h - the latents of a flow as inputs and outputs of programs, and back to rows. */
#ifndef HOST_LATENTS_H
#define HOST_LATENTS_H
#include "program.h"

/* The port of latent i: an output of ENCODE, an input of DECODE. */
const struct tensor *latents_output(const struct program *, int i);
struct tensor *latents_input(const struct program *, int i);

/* Decodes n rows: latent[i] is (n, ...) of latent i, x is (n, ...); all of the model's real type.
 */
glow_status latents_decode(struct model *, void *const *latent, int64_t n, uint64_t seed,
                           bool average, void *x);
/* The bytes of latent i of one row. */
size_t latents_row_bytes(const struct model *, int i);
#endif
