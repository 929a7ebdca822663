/* chain.c - conv_chain forward: for each tile im2col, then product after product with bias and
 * activation on the way, then col2im. */
#include <string.h>
#include "chain.h"

/* What one worker needs. */
struct work {
    struct tile *tile;
    struct panels input;     /* (depth of the first stage, tile) */
    struct panels hidden[2]; /* (width, tile), for activations that are not kept */
    real *wide;              /* ((out,tap), tile), SCATTER; reals that become operands */
    real *sums;              /* (out, pitch) */
};

static struct work carve_work(const struct chain_forward *f, struct carve *room)
{
    const struct chain *c = f->chain;
    int64_t input = 0, hidden = 0, wide = 0, sums = 0;
    for (int i = 0; i < c->n_segments; i++) {
        const int first = c->first[i], last = chain_last(c, i);
        const struct chain_stage *s = &c->stage[last];
        input = max_int(input, c->stage[first].depth);
        for (int j = first; j < last; j++) hidden = max_int(hidden, c->stage[j].out);
        if (s->kind == STAGE_SCATTER) wide = max_int(wide, s->rows);
        if (PER_WORD > 1) wide = max_int(wide, max_int(input, hidden));
        sums = max_int(sums, s->out * f->units[i].pitch);
    }
    return (struct work){
        .tile = CARVE(room, struct tile, 1),
        .input = carve_panels(room, 0, chain_paired_size(c, input)),
        .hidden = { carve_panels(room, 0, chain_paired_size(c, hidden)),
                    carve_panels(room, 0, chain_paired_size(c, hidden)) },
        .wide = CARVE(room, real, chain_tile_size(c, wide)),
        .sums = CARVE(room, real, sums),
    };
}

void NAME(chain_carve_forward)(struct chain_forward *f, struct chain *c, struct carve *room,
                               int threads)
{
    int64_t halos = 0;
    f->chain = c;
    for (int i = 0; i < c->n_segments; i++) {
        const struct chain_stage *s = &c->stage[chain_last(c, i)];
        const struct window w = result_window(s, -1);
        f->units[i] = NAME(chain_units)(c, window_reach(&w, c->width), c->tiles);
        halos = max_int(halos, chain_halo_size(&f->units[i], s->out));
    }
    f->halos = CARVE(room, real, halos);
    struct carve one = { NULL, 0 };
    carve_work(f, &one);
    f->work_size = one.used;
    f->work = CARVE(room, char, (int64_t)f->work_size *threads);
}

/* All stages of the segment on one tile; sums points at the tile's first pixel. The activations of
 * the next tile are written to memory that is asked for now. */
static void run_tile(const struct chain_forward *f, const struct work *w, int64_t tile, int is_last,
                     real *sums, int64_t pitch)
{
    const struct chain *c = f->chain;
    const int first = c->first[f->segment], last = chain_last(c, f->segment);
    const struct window look = operand_window(&c->stage[first]);
    struct panels operand = w->input;
    struct ahead ahead = { .work = chain_work(c, first, last), .to_write = 1 };
    for (int i = first; i < last && !is_last; i++) {
        const int64_t size = chain_plain_size(c, c->stage[i].out);
        if (f->hidden[i])
            ahead_add(&ahead, f->hidden[i] + (tile + 1) * size, size * (int64_t)sizeof(word));
    }

    NAME(chain_tile)(c, tile, w->tile);
    NAME(chain_read)(c, w->tile, &look, &f->in[f->segment], w->wide, &w->input);
    for (int i = first; i < last; i++) {
        const struct chain_stage *s = &c->stage[i];
        word *kept = f->hidden[i] ? f->hidden[i] + tile * chain_plain_size(c, s->out) : NULL;
        const struct panels to = panels_of(kept, w->hidden[i & 1].paired);
        NAME(chain_run_stage)(s, w->tile, &operand, w->wide, &to, &ahead);
        operand = to;
    }
    NAME(chain_run_last)(&c->stage[last], w->tile, &operand, w->wide, sums, pitch, &ahead);
}

static struct chain_output output_of(const struct chain_forward *f)
{
    const struct chain_stage *s = &f->chain->stage[chain_last(f->chain, f->segment)];
    return (struct chain_output){ f->out[f->segment], s->out, s->scale, s->bias, s->act, f->halos };
}

static void forward_unit(void *arg, int64_t unit, int worker)
{
    const struct chain_forward *f = arg;
    const struct chain *c = f->chain;
    const struct chain_units *u = &f->units[f->segment];
    struct carve room = { f->work + (size_t)worker * f->work_size, 0 };
    const struct work w = carve_work(f, &room);
    const int64_t first = unit_tile(u, unit), end = unit_tile(u, unit + 1);
    const struct chain_output o = output_of(f);

    memset(w.sums, 0, (size_t)(o.channels * u->pitch) * sizeof(real));
    for (int64_t tile = first; tile < end; tile++)
        run_tile(f, &w, tile, tile == end - 1, w.sums + u->margin + (tile - first) * c->tile,
                 u->pitch);
    NAME(chain_finish_unit)(c, u, unit, w.sums + u->margin, &o);
}

void NAME(chain_run_forward)(struct chain_forward *f, int segment)
{
    f->segment = segment;
    const struct chain_output o = output_of(f);
    f->chain->pool = f->units[segment].n == 1 ? f->pool : NULL;
    pool_run(f->pool, f->units[segment].n, forward_unit, f);
    NAME(chain_finish)(f->chain, &f->units[segment], f->pool, &o);
}

/* Room for planes between segments that nobody keeps. */
struct between {
    real *planes[CHAIN_STAGES];
};

static struct between carve_all(struct chain_forward *f, struct chain *c, const struct step *step,
                                struct carve *room, int threads)
{
    struct between b = { { NULL } };
    NAME(chain_carve_weights)(c, room, FOR_RESULT);
    NAME(chain_carve_forward)(f, c, room, threads);
    for (int i = 0; i < c->n_segments - 1; i++) {
        const int last = chain_last(c, i);
        if (!step->out[1 + last].data)
            b.planes[last] = CARVE(room, real, c->pixels * c->stage[last].out);
    }
    return b;
}

size_t NAME(scratch_CHAIN)(const struct step *step, int threads)
{
    struct chain c;
    struct chain_forward f = { 0 };
    struct carve room = { NULL, 0 };
    NAME(chain_of_step)(&c, step);
    carve_all(&f, &c, step, &room, threads);
    return room.used;
}

void NAME(kernel_CHAIN)(const struct step *step, struct run *run)
{
    struct chain c;
    struct chain_forward f = { .pool = engine_pool(run->engine) };
    struct carve room = { step->scratch, 0 };
    NAME(chain_of_step)(&c, step);
    const struct between b = carve_all(&f, &c, step, &room, pool_threads(f.pool));

    NAME(chain_pack)(&c, f.pool);
    f.in[0] = planes_of(&step->in[0]);
    for (int i = 0; i < c.n_segments; i++) {
        const int last = chain_last(&c, i);
        for (int j = c.first[i]; j < last; j++) f.hidden[j] = step->out[1 + j].data;
        if (i == c.n_segments - 1) {
            f.out[i] = planes_of(&step->out[0]);
        } else {
            real *planes = step->out[1 + last].data ? step->out[1 + last].data : b.planes[last];
            f.out[i] = f.in[i + 1] = planes_dense(&c, planes, c.stage[last].out);
        }
        NAME(chain_run_forward)(&f, i);
    }
}
