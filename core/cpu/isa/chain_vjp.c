/* chain_vjp.c - conv_chain backward, tile by tile: im2col of dy, then for each stage from the last
 * to the first dW += D H^T and D' = (W^T D) act'(H), and col2im of what reaches the input. */
#include <string.h>
#include "chain.h"

#define BACKWARD_UNITS 16 /* at most: each has its own gradients of weights */

/* What one worker needs. */
struct work {
    struct tile *tile;
    struct panels input;                /* (depth of the first stage, tile) */
    struct panels hidden[CHAIN_STAGES]; /* (width, tile), for activations computed again */
    struct panels d[2]; /* (rows, tile): gradients, of a stage's result and its operand */
    real *wide;         /* reals that become operands, or come of them */
    word *turned;       /* a transposed operand */
    real *sums;         /* (in, pitch) */
};

/* Whether hidden activations within the segment must be computed again, from that stage on. */
static int computes_again(const struct chain_backward *b, int segment, int stage)
{
    for (int i = stage; i < chain_last(b->chain, segment); i++)
        if (!b->hidden[i]) return 1;
    return 0;
}

static struct work carve_work(const struct chain_backward *b, struct carve *room)
{
    const struct chain *c = b->chain;
    struct work w = { .tile = CARVE(room, struct tile, 1) };
    int64_t input = 0, d = 0, turned = 0, sums = 0, again = 0;
    for (int i = 0; i < c->n_segments; i++) {
        const struct chain_stage *s = &c->stage[c->first[i]];
        input = max_int(input, s->depth);
        sums = max_int(sums, s->in * b->units.pitch);
        again |= computes_again(b, i, c->first[i]);
    }
    for (int i = 0; i < c->n_stages; i++) {
        const struct chain_stage *s = &c->stage[i];
        d = max_int(d, max_int(s->rows, s->depth));
        turned = max_int(turned, panels_words(c->tile, s->packing.turned ? s->rows : s->depth));
    }
    w.input =
        carve_panels(room, chain_plain_size(c, input), again ? chain_paired_size(c, input) : 0);
    w.d[0] = carve_panels(room, chain_plain_size(c, d), chain_paired_size(c, d));
    w.d[1] = carve_panels(room, chain_plain_size(c, d), chain_paired_size(c, d));
    if (PER_WORD > 1) w.wide = CARVE(room, real, chain_tile_size(c, d));
    w.turned = CARVE(room, word, turned);
    w.sums = CARVE(room, real, sums);
    for (int i = 0; i < c->n_segments; i++)
        for (int j = c->first[i]; j < chain_last(c, i); j++) {
            const int64_t out = c->stage[j].out;
            if (computes_again(b, i, j))
                w.hidden[j] =
                    carve_panels(room, chain_plain_size(c, out), chain_paired_size(c, out));
        }
    return w;
}

void NAME(chain_carve_backward)(struct chain_backward *b, struct chain *c, struct carve *room,
                                const struct tensor *out, int threads)
{
    const int n = c->n_segments;
    int64_t reach = 0, halos = 0, again = c->stage[c->n_stages - 1].act != 0;
    int gradient = b->want_dx || c->n_stages > 1; /* needs weights */
    b->chain = c;
    for (int i = 0; i < c->n_stages; i++) gradient |= c->stage[i].want_dlogs;
    for (int i = 0; i < n; i++) {
        const struct window w = operand_window(&c->stage[c->first[i]]);
        reach = max_int(reach, window_reach(&w, c->width));
        again |= computes_again(b, i, c->first[i]) || (i < n - 1 && !b->hidden[chain_last(c, i)]);
    }
    b->units = NAME(chain_units)(c, reach, BACKWARD_UNITS);
    for (int i = 0; i < n; i++)
        halos = max_int(halos, chain_halo_size(&b->units, c->stage[c->first[i]].in));
    b->halos = CARVE(room, real, halos);

    NAME(chain_carve_weights)
    (c, room, (gradient ? FOR_GRADIENT : 0) | (again ? FOR_RESULT : 0));
    NAME(chain_carve_gradients)(c, room, b->units.n, out);
    if (again) NAME(chain_carve_forward)(&b->again, c, room, threads);
    for (int i = 0; i < n; i++) {
        const int last = chain_last(c, i);
        const int64_t size = c->pixels * c->stage[last].out;
        const int is_end = i == n - 1;
        if (is_end ? c->stage[last].act != 0 : !b->hidden[last])
            b->planar[i] = CARVE(room, real, size);
        if (!is_end || c->stage[last].act) b->d_planar[i] = CARVE(room, real, size);
    }
    struct carve one = { NULL, 0 };
    carve_work(b, &one);
    b->work_size = one.used;
    b->work = CARVE(room, char, (int64_t)b->work_size *threads);
}

/* Kept activations of a stage on a tile; NULL: not kept. */
static const word *kept(const struct chain_backward *b, int stage, int64_t tile)
{
    const struct chain *c = b->chain;
    if (!b->hidden[stage]) return NULL;
    return b->hidden[stage] + tile * chain_plain_size(c, c->stage[stage].out);
}

/* Those of the next tile, in the order in which they are needed. */
static struct ahead look_ahead(const struct chain_backward *b, int64_t tile)
{
    const struct chain *c = b->chain;
    const int first = c->first[b->segment], last = chain_last(c, b->segment);
    struct ahead ahead = { .work = 2 * chain_work(c, first, last) };
    for (int i = last - 1; i >= first && tile + 1 < c->tiles; i--)
        ahead_add(&ahead, kept(b, i, tile + 1),
                  chain_plain_size(c, c->stage[i].out) * (int64_t)sizeof(word));
    return ahead;
}

/* The activations of the tile, kept, or computed again with what comes before them. */
static void find_hidden(const struct chain_backward *b, const struct work *w, int64_t tile,
                        const word *hidden[CHAIN_STAGES])
{
    const struct chain *c = b->chain;
    const struct panels *operand = &w->input;
    for (int i = c->first[b->segment]; i < chain_last(c, b->segment); i++) {
        if (computes_again(b, b->segment, i)) {
            NAME(chain_run_stage)(&c->stage[i], w->tile, operand, w->wide, &w->hidden[i], NULL);
            operand = &w->hidden[i];
            hidden[i] = operand->plain;
        } else {
            hidden[i] = kept(b, i, tile);
        }
    }
}

/* What the gradient of the segment's result is needed for beside the weights inside. */
static void add_result_totals(const struct chain_stage *s, const struct work *w, const real *d,
                              int64_t totals)
{
    const struct window look = result_window(s, 1);
    const int64_t taps = window_taps(&look), middle = taps / 2;
    if (s->db)
        NAME(chain_totals)(s, w->tile, d + middle * PANEL, s->rows, taps, s->db + totals, s->out);
    if (s->dedge) NAME(edge_totals)(w->tile, &look, d, s->dedge + totals);
}

/* Where a unit's gradients go. */
struct unit {
    int64_t number, first_tile;
    int64_t totals; /* its distance from the first unit's */
};

/* sums points at the tile's first pixel. */
static void run_tile(const struct chain_backward *b, const struct work *w, const struct unit *u,
                     int64_t tile, real *sums)
{
    const struct chain *c = b->chain;
    const int first = c->first[b->segment], last = chain_last(c, b->segment);
    const struct chain_stage *begin = &c->stage[first], *end = &c->stage[last];
    const struct window in = operand_window(begin);
    struct window out = result_window(end, -1);
    const word *hidden[CHAIN_STAGES];
    const struct panels *d = &w->d[0], *spare = &w->d[1];
    struct ahead ahead = look_ahead(b, tile);

    NAME(chain_tile)(c, tile, w->tile);
    if (begin->want_dw || computes_again(b, b->segment, first))
        NAME(chain_read)(c, w->tile, &in, &b->in[b->segment], w->wide, &w->input);
    find_hidden(b, w, tile, hidden);
    out.scale = end->scale;
    add_result_totals(end, w, NAME(chain_read)(c, w->tile, &out, &b->d_out[b->segment], w->wide, d),
                      u->totals);
    for (int i = last; i >= first; i--) {
        const struct chain_stage *s = &c->stage[i], *before = i > first ? s - 1 : NULL;
        const word *operand = i > first ? hidden[i - 1] : w->input.plain;
        if (s->want_dw) NAME(chain_dw)
        (c, s, w->tile, d->plain, operand, w->turned, chain_dw_of(c, s, u->number),
         tile > u->first_tile, &ahead);
        if (i > first) {
            const struct panels *to = spare;
            real *db = before->db ? before->db + u->totals : NULL;
            NAME(chain_pull_back)(s, w->tile, d, w->wide, to, before, hidden[i - 1], db, &ahead);
            spare = d;
            d = to;
        } else if (b->d_in[b->segment].data) {
            NAME(chain_pull_first)
            (s, w->tile, d, reals_of(spare, w->wide), sums, b->units.pitch);
        }
    }
}

static struct chain_output output_of(const struct chain_backward *b)
{
    const struct chain_stage *s = &b->chain->stage[b->chain->first[b->segment]];
    return (struct chain_output){ b->d_in[b->segment], s->in, NULL, NULL, GLOW_ACT_NONE, b->halos };
}

static void clear_totals(const struct chain_backward *b, int64_t totals)
{
    const struct chain *c = b->chain;
    for (int i = c->first[b->segment]; i < c->first[b->segment + 1]; i++) {
        const struct chain_stage *s = &c->stage[i];
        const size_t edge = (size_t)(s->out * s->taps * LANES) * sizeof(real);
        if (s->db) memset(s->db + totals, 0, (size_t)chain_db_size(c, s) * sizeof(real));
        if (s->dedge) memset(s->dedge + totals, 0, edge);
    }
}

static void backward_unit(void *arg, int64_t unit, int worker)
{
    const struct chain_backward *b = arg;
    const struct chain *c = b->chain;
    const struct chain_units *u = &b->units;
    struct carve room = { b->work + (size_t)worker * b->work_size, 0 };
    const struct work w = carve_work(b, &room);
    const struct chain_output o = output_of(b);
    const int64_t first = unit_tile(u, unit), end = unit_tile(u, unit + 1);
    const struct unit to = { unit, first, unit * c->totals_size };

    clear_totals(b, to.totals);
    if (o.to.data) memset(w.sums, 0, (size_t)(o.channels * u->pitch) * sizeof(real));
    for (int64_t tile = first; tile < end; tile++)
        run_tile(b, &w, &to, tile, w.sums + u->margin + (tile - first) * c->tile);
    if (o.to.data) NAME(chain_finish_unit)(c, u, unit, w.sums + u->margin, &o);
}

/* The gradient of planes that went through an activation, image by image. */
struct planar_task {
    const struct chain *chain;
    struct planes from, h;
    real *to;
    int64_t channels;
    int act;
};

static void planar_image(void *arg, int64_t image, int worker)
{
    const struct planar_task *p = arg;
    const int64_t n = p->chain->plane;
    (void)worker;
    for (int64_t ch = 0; ch < p->channels; ch++) {
        real *to = p->to + (image * p->channels + ch) * n;
        const real *from =
            p->from.data + image * p->from.batch_stride + ch * p->from.channel_stride;
        if (from != to) memcpy(to, from, (size_t)n * sizeof(real));
        NAME(chain_activate_vjp)
        (to, p->h.data + image * p->h.batch_stride + ch * p->h.channel_stride, n, p->act);
    }
}

/* Planes between segments, kept or computed again, and the result of the last where its activation
 * needs it. */
static void find_planes(struct chain_backward *b, struct planes *result)
{
    struct chain *c = b->chain;
    const int n = c->n_segments;
    b->in[0] = b->x;
    b->again.pool = b->pool;
    for (int i = 0; i < n; i++) {
        const int last = chain_last(c, i), is_end = i == n - 1;
        const int64_t width = c->stage[last].out;
        struct planes out = { NULL, 0, 0 };
        if (b->planar[i]) {
            out = planes_dense(c, b->planar[i], width);
            b->again.in[i] = b->in[i];
            b->again.out[i] = out;
            NAME(chain_run_forward)(&b->again, i);
        } else if (!is_end) {
            out = planes_dense(c, (real *)(uintptr_t)(const void *)b->hidden[last], width);
        }
        if (is_end)
            *result = out;
        else
            b->in[i + 1] = out;
    }
}

void NAME(chain_run_backward)(struct chain_backward *b, const struct tensor *out)
{
    struct chain *c = b->chain;
    const int n = c->n_segments;
    struct planes result;

    NAME(chain_pack)(c, b->pool);
    find_planes(b, &result);
    b->d_out[n - 1] = b->dy;
    if (c->stage[c->n_stages - 1].act) {
        struct planar_task p = { c,
                                 b->dy,
                                 result,
                                 b->d_planar[n - 1],
                                 c->stage[c->n_stages - 1].out,
                                 c->stage[c->n_stages - 1].act };
        pool_run(b->pool, c->images, planar_image, &p);
        b->d_out[n - 1] = planes_dense(c, p.to, p.channels);
    }
    for (int i = n - 1; i >= 0; i--) {
        const struct chain_stage *before = &c->stage[c->first[i] - (i > 0)];
        b->segment = i;
        if (i > 0) b->d_out[i - 1] = planes_dense(c, b->d_planar[i - 1], before->out);
        b->d_in[i] = i > 0 ? b->d_out[i - 1] : b->dx;
        const struct chain_output o = output_of(b);
        c->pool = b->units.n == 1 ? b->pool : NULL;
        pool_run(b->pool, b->units.n, backward_unit, b);
        if (o.to.data) NAME(chain_finish)(c, &b->units, b->pool, &o);
        if (i > 0 && before->act) {
            struct planar_task p = { c, o.to, b->in[i], o.to.data, before->out, before->act };
            pool_run(b->pool, c->images, planar_image, &p);
        }
    }
    NAME(chain_gather)(c, b->pool, out);
}

/* Inputs and outputs of CHAIN_VJP, for both its scratch and its run. */
static void set_up(struct chain *c, struct chain_backward *b, const struct step *step)
{
    const struct tensor *dy = &step->in[1 + 3 * step->ai[0]];
    NAME(chain_of_step)(c, step);
    b->want_dx = step->out[0].data != NULL;
    b->x = planes_of(&step->in[0]);
    b->dy = planes_of(dy);
    if (b->want_dx) b->dx = planes_of(&step->out[0]);
    for (int i = 0; i < c->n_stages; i++) {
        struct chain_stage *s = &c->stage[i];
        const struct tensor *out = &step->out[1 + 3 * i];
        s->want_dlogs = out[2].data && s->logs;
        s->want_dw = out[0].data || s->want_dlogs;
        s->want_db = out[1].data || s->want_dlogs;
        if (i < c->n_stages - 1) b->hidden[i] = dy[1 + i].data;
    }
}

size_t NAME(scratch_CHAIN_VJP)(const struct step *step, int threads)
{
    struct chain c;
    struct chain_backward b = { 0 };
    struct carve room = { NULL, 0 };
    set_up(&c, &b, step);
    NAME(chain_carve_backward)(&b, &c, &room, step->out + 1, threads);
    return room.used;
}

void NAME(kernel_CHAIN_VJP)(const struct step *step, struct run *run)
{
    struct chain c;
    struct chain_backward b = { .pool = engine_pool(run->engine) };
    struct carve room = { step->scratch, 0 };
    set_up(&c, &b, step);
    NAME(chain_carve_backward)(&b, &c, &room, step->out + 1, pool_threads(b.pool));
    NAME(chain_run_backward)(&b, step->out + 1);
}
