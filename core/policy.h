/* policy.h - what the backward pass keeps of each layer (walk.c): the memory policy, decided from
 * the bytes that the forward description of each layer makes. */
#ifndef CORE_POLICY_H
#define CORE_POLICY_H
#include <stdbool.h>
#include <stdint.h>
#include "program.h"

/* In bytes. */
struct layer_bytes {
    int64_t input;  /* the anchor */
    int64_t all;    /* all values of its description: what storing it may keep */
    int64_t result; /* of its networks */
    int64_t hidden; /* what the walk back saves when that is kept: hidden activations, but for the
                     * scratch in which they are computed again; may be negative */
};

struct layer_policy {
    enum memory_policy memory;
    bool keeps_result; /* RECOMPUTE: the results of its networks are kept as well */
};

/* Sets policy[i] for layers lowest .. n_layers-1; bytes has an entry for each layer. */
void policy_choose(const struct model *, const struct program_options *,
                   const struct layer_bytes *bytes, int lowest, struct layer_policy *policy);
#endif
