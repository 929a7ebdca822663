/* policy.c - see policy.h.
 *
 * Recomputing a coupling runs its network again up to the last activation that the gradient needs.
 * Where the network's result is kept, its last product is spared, and a convolution chain computes
 * its hidden activations tile by tile, in the cache, while it goes back. That costs the result's
 * memory from the forward pass on, and saves that of the hidden activations. So results are kept
 * from the top down, where the walk begins, as far as the most that is alive at any time is no more
 * than without (AUTO: than without anything stored, and its budget). */
#include "policy.h"
#include "model.h"

static bool has_exact_inverse(const struct layer *l)
{
    const struct glow_layer *d = l->self ? (const struct glow_layer *)l->self->info->desc : NULL;
    return !d || d->restore || (d->inverse && l->traits.left == GLOW_INV_EXACT);
}

static enum memory_policy memory_of(const struct layer *l, enum memory_policy wanted)
{
    const enum memory_policy memory = l->coupling ? wanted : MEMORY_INVERT;
    return memory == MEMORY_INVERT && !has_exact_inverse(l) ? MEMORY_RECOMPUTE : memory;
}

/* What the forward pass leaves of a layer for the walk back. */
static int64_t held(const struct layer_bytes *b, const struct layer_policy *p)
{
    if (p->memory == MEMORY_INVERT) return 0;
    return b->input + (p->memory == MEMORY_STORE ? b->all : p->keeps_result ? b->result : 0);
}

/* What describing it again makes. */
static int64_t passing(const struct layer_bytes *b, const struct layer_policy *p)
{
    if (p->memory == MEMORY_STORE) return 0;
    return b->all - (p->keeps_result ? b->hidden : 0);
}

/* The most alive at any time of the walk, gradients left out. */
static int64_t peak(const struct layer_bytes *bytes, const struct layer_policy *policy, int lowest,
                    int n)
{
    int64_t alive = 0, most = 0;
    for (int i = lowest; i < n; i++) {
        alive += held(&bytes[i], &policy[i]);
        const int64_t now = alive + passing(&bytes[i], &policy[i]);
        if (now > most) most = now;
    }
    return most;
}

/* From the top down within the budget. */
static void store_couplings(const struct model *m, const struct layer_bytes *bytes, int lowest,
                            int64_t budget, struct layer_policy *policy)
{
    for (int i = m->n_layers - 1; i >= lowest; i--) {
        if (!m->layers[i].coupling || bytes[i].all > budget) continue;
        policy[i].memory = MEMORY_STORE;
        budget -= bytes[i].all;
    }
}

void policy_choose(const struct model *m, const struct program_options *o,
                   const struct layer_bytes *bytes, int lowest, struct layer_policy *policy)
{
    const bool is_auto = o->memory == MEMORY_AUTO;
    const int n = m->n_layers;
    for (int i = lowest; i < n; i++)
        policy[i] =
            (struct layer_policy){ memory_of(&m->layers[i], is_auto ? MEMORY_RECOMPUTE : o->memory),
                                   false };
    const int64_t room = peak(bytes, policy, lowest, n) + (is_auto ? o->memory_budget : 0);
    if (is_auto) store_couplings(m, bytes, lowest, o->memory_budget, policy);
    for (int i = lowest; i < n; i++)
        policy[i].keeps_result = policy[i].memory == MEMORY_RECOMPUTE && bytes[i].hidden != 0;
    for (int i = lowest; i < n && peak(bytes, policy, lowest, n) > room; i++)
        policy[i].keeps_result = false;
}
