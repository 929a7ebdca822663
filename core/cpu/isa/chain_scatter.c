/* chain_scatter.c - the end of a segment: sums around the pixels of each unit become planes. Units
 * whose border lies within an image have given each other sums; these are added when all are done.
 */
#include <string.h>
#include "chain.h"
#include "real_math.h"

void NAME(chain_activate)(real *x, int64_t n, int act)
{
    if (act == GLOW_ACT_RELU) {
        INDEPENDENT for (int64_t i = 0; i < n; i++) x[i] = x[i] < 0 ? 0 : x[i];
    }
    if (act == GLOW_ACT_TANH) {
        INDEPENDENT for (int64_t i = 0; i < n; i++) x[i] = real_tanh(x[i]);
    }
    if (act == GLOW_ACT_SIGMOID) {
        INDEPENDENT for (int64_t i = 0; i < n; i++) x[i] = real_sigmoid(x[i]);
    }
}

void NAME(chain_activate_vjp)(real *d, const real *h, int64_t n, int act)
{
    if (act == GLOW_ACT_RELU) {
        INDEPENDENT for (int64_t i = 0; i < n; i++) d[i] = h[i] > 0 ? d[i] : 0;
    }
    if (act == GLOW_ACT_TANH) {
        INDEPENDENT for (int64_t i = 0; i < n; i++) d[i] *= 1 - h[i] * h[i];
    }
    if (act == GLOW_ACT_SIGMOID) {
        INDEPENDENT for (int64_t i = 0; i < n; i++) d[i] *= h[i] - h[i] * h[i];
    }
}

/* Whether a unit begins in the middle of an image that the unit before it scatters into. */
static int meets_before(const struct chain *c, const struct chain_units *u, int64_t unit)
{
    return u->reach > 0 && unit > 0 && unit < u->n && unit_tile(u, unit) * c->tile % c->plane != 0;
}
static int any_meets(const struct chain *c, const struct chain_units *u)
{
    for (int64_t unit = 1; unit < u->n; unit++)
        if (meets_before(c, u, unit)) return 1;
    return 0;
}

static void unit_pixels(const struct chain *c, const struct chain_units *u, int64_t unit,
                        int64_t *first, int64_t *end)
{
    *first = unit_tile(u, unit) * c->tile;
    *end = min_int(c->pixels, unit_tile(u, unit + 1) * c->tile);
}

static real *halo(const struct chain_units *u, const struct chain_output *o, int64_t unit, int side)
{
    return o->halos + (unit * 2 + side) * o->channels * u->reach;
}

/* sums points at the unit's first pixel of channel 0. */
static void save_halos(const struct chain_units *u, int64_t unit, int64_t count, const real *sums,
                       const struct chain_output *o)
{
    const size_t bytes = (size_t)u->reach * sizeof(real);
    for (int64_t ch = 0; ch < o->channels; ch++) {
        const real *in = sums + ch * u->pitch;
        memcpy(halo(u, o, unit, 0) + ch * u->reach, in - u->reach, bytes);
        memcpy(halo(u, o, unit, 1) + ch * u->reach, in + count, bytes);
    }
}

void NAME(chain_finish_unit)(const struct chain *c, const struct chain_units *u, int64_t unit,
                             const real *sums, const struct chain_output *o)
{
    const int late = any_meets(c, u);
    int64_t first, end;
    unit_pixels(c, u, unit, &first, &end);
    for (int64_t at = first; at < end;) {
        const int64_t image = at / c->plane, stop = min_int(end, (image + 1) * c->plane);
        for (int64_t ch = 0; ch < o->channels; ch++) {
            real *to = o->to.data + image * o->to.batch_stride + ch * o->to.channel_stride +
                       (at - image * c->plane);
            const real *from = sums + ch * u->pitch + (at - first);
            const real scale = o->scale ? o->scale[ch] : 1, bias = o->bias ? o->bias[ch] : 0;
            INDEPENDENT for (int64_t i = 0; i < stop - at; i++) to[i] = from[i] * scale + bias;
            if (!late && o->act) NAME(chain_activate)(to, stop - at, o->act);
        }
        at = stop;
    }
    if (late) save_halos(u, unit, end - first, sums, o);
}

/* Adds n sums to the pixels from `first` on, as far as they lie in the image. */
static void add_halo(const struct chain *c, const struct chain_output *o, int64_t image,
                     int64_t first, int64_t n, const real *sums)
{
    const int64_t start = max_int(first, image * c->plane);
    const int64_t end = min_int(first + n, (image + 1) * c->plane);
    for (int64_t ch = 0; ch < o->channels; ch++) {
        real *to = o->to.data + image * o->to.batch_stride + ch * o->to.channel_stride +
                   (start - image * c->plane);
        const real *from = sums + ch * n + (start - first);
        const real scale = o->scale ? o->scale[ch] : 1;
        for (int64_t i = 0; i < end - start; i++) to[i] += from[i] * scale;
    }
}

struct late {
    const struct chain *chain;
    const struct chain_output *o;
};
static void activate_image(void *arg, int64_t task, int worker)
{
    const struct late *l = arg;
    const struct planes *to = &l->o->to;
    (void)worker;
    for (int64_t ch = 0; ch < l->o->channels; ch++) NAME(chain_activate)
    (to->data + task * to->batch_stride + ch * to->channel_stride, l->chain->plane, l->o->act);
}

void NAME(chain_finish)(const struct chain *c, const struct chain_units *u, struct pool *pool,
                        const struct chain_output *o)
{
    struct late late = { c, o };
    if (!any_meets(c, u)) return;
    for (int64_t unit = 1; unit < u->n; unit++) {
        if (!meets_before(c, u, unit)) continue;
        const int64_t border = unit_tile(u, unit) * c->tile, image = border / c->plane;
        add_halo(c, o, image, border, u->reach, halo(u, o, unit - 1, 1));
        add_halo(c, o, image, border - u->reach, u->reach, halo(u, o, unit, 0));
    }
    if (o->act) pool_run(pool, c->images, activate_image, &late);
}
