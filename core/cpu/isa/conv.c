/* conv.c - a single convolution is a chain of one stage. */
#include "chain.h"

static const struct tensor unwanted;

/* y = conv(x, w). */
static void forward_of(struct chain *c, const struct step *step)
{
    const struct tensor *w = &step->in[1];
    NAME(chain_begin)(c, &step->in[0]);
    NAME(chain_add)(c, w, w->dim[1], w->dim[3], w->dim[4], step->ai[0] != 0);
    NAME(chain_end)(c);
}

static void carve_forward(struct chain_forward *f, struct chain *c, struct carve *room, int threads)
{
    NAME(chain_carve_weights)(c, room, FOR_RESULT);
    NAME(chain_carve_forward)(f, c, room, threads);
}

size_t NAME(scratch_CONV)(const struct step *step, int threads)
{
    struct chain c;
    struct chain_forward f = { 0 };
    struct carve room = { NULL, 0 };
    forward_of(&c, step);
    carve_forward(&f, &c, &room, threads);
    return room.used;
}

void NAME(kernel_CONV)(const struct step *step, struct run *run)
{
    struct chain c;
    struct chain_forward f = { .pool = engine_pool(run->engine) };
    struct carve room = { step->scratch, 0 };
    forward_of(&c, step);
    carve_forward(&f, &c, &room, pool_threads(f.pool));
    NAME(chain_pack)(&c, f.pool);
    f.in[0] = planes_of(&step->in[0]);
    f.out[0] = planes_of(&step->out[0]);
    NAME(chain_run_forward)(&f, 0);
}

/* dx from dy and w. */
static void dx_of(struct chain *c, struct chain_backward *b, const struct step *step)
{
    const struct tensor *w = &step->in[1];
    NAME(chain_begin)(c, &step->out[0]);
    NAME(chain_add)(c, w, w->dim[1], w->dim[3], w->dim[4], step->ai[0] != 0);
    NAME(chain_end)(c);
    b->want_dx = 1;
    b->dy = planes_of(&step->in[0]);
    b->dx = planes_of(&step->out[0]);
}

/* dw from x and dy. The weights themselves play no part: dw lends their shape, and is overwritten
 * last. */
static void dw_of(struct chain *c, struct chain_backward *b, const struct step *step)
{
    const struct tensor *dw = &step->out[0];
    NAME(chain_begin)(c, &step->in[0]);
    struct chain_stage *s =
        NAME(chain_add)(c, dw, dw->dim[1], step->ai[1], step->ai[2], step->ai[0] != 0);
    NAME(chain_end)(c);
    s->want_dw = 1;
    b->x = planes_of(&step->in[0]);
    b->dy = planes_of(&step->in[1]);
}

typedef void (*set_up)(struct chain *, struct chain_backward *, const struct step *);

static size_t backward_scratch(const struct step *step, int threads, set_up set)
{
    struct chain c;
    struct chain_backward b = { 0 };
    struct carve room = { NULL, 0 };
    set(&c, &b, step);
    const struct tensor out[3] = { set == dw_of ? step->out[0] : unwanted, unwanted, unwanted };
    NAME(chain_carve_backward)(&b, &c, &room, out, threads);
    return room.used;
}

static void backward_kernel(const struct step *step, struct run *run, set_up set)
{
    struct chain c;
    struct chain_backward b = { .pool = engine_pool(run->engine) };
    struct carve room = { step->scratch, 0 };
    set(&c, &b, step);
    const struct tensor out[3] = { set == dw_of ? step->out[0] : unwanted, unwanted, unwanted };
    NAME(chain_carve_backward)(&b, &c, &room, out, pool_threads(b.pool));
    NAME(chain_run_backward)(&b, out);
}

size_t NAME(scratch_CONV_DX)(const struct step *step, int threads)
{
    return backward_scratch(step, threads, dx_of);
}
void NAME(kernel_CONV_DX)(const struct step *step, struct run *run)
{
    backward_kernel(step, run, dx_of);
}
size_t NAME(scratch_CONV_DW)(const struct step *step, int threads)
{
    return backward_scratch(step, threads, dw_of);
}
void NAME(kernel_CONV_DW)(const struct step *step, struct run *run)
{
    backward_kernel(step, run, dw_of);
}
