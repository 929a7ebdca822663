/* sampling.h - samples of a model and their temperatures. */
#ifndef HOST_SAMPLING_H
#define HOST_SAMPLING_H
#include "model.h"

/* A temperature per latent of the model: those of the configuration, changed by `text` (may be
 * NULL): "0.7" for all, "0.2,0.5,1" for each in the order of the flow, or
 * "y=1,z=0.7,level.0.factor_out.z=0.5" by group or name. */
glow_status sampling_temperatures(const struct model *, const char *text, double *temperature);

/* n samples (n, ...) of the model's real type. Sample i is a function of the seed and i. average:
 * by the moving average of the parameters, if there is one. */
glow_status sampling_draw(struct model *, const double *temperature, int64_t n, uint64_t seed,
                          bool average, void *x);

#endif
