/* chain_weights.c - weights of a chain into operands of products, and gradients back. An
 * activation-free scale per output channel is folded: W' = W e, b' = b e with e = exp(logscale
 * logs). Then dW = dW' e,  db = db' e,  dlogs_o = logscale (sum_k W'_ok dW'_ok + b'_o db'_o). */
#include <math.h>
#include <string.h>
#include "chain.h"

#define OUTPUTS_PER_TASK 16
#define SUM_PER_TASK     4096

/* The stage as (rows, depth), scaled. */
static struct matrix weights_of(const struct chain_stage *s)
{
    struct matrix m = { s->w->data, s->rows, s->depth, 1, s->w_stride, 0, 1, s->scale };
    if (s->kind == STAGE_SCATTER) {
        m.group = s->taps;
        m.row_stride = 1;
        m.column_stride = s->taps;
    }
    return m;
}

/* The columns that have a gradient: not the edge channel. */
static struct matrix weights_inside(const struct chain_stage *s)
{
    struct matrix m = weights_of(s);
    if (s->kind == STAGE_GATHER) m.columns = s->in * s->taps;
    return m;
}

static int has_edge_weight(const struct chain_stage *s)
{
    return s->kind == STAGE_SCATTER && s->edge;
}

void NAME(chain_carve_weights)(struct chain *c, struct carve *room, int forward, int backward)
{
    for (int i = 0; i < c->n_stages; i++) {
        struct chain_stage *s = &c->stage[i];
        s->scale = CARVE(room, real, s->out);
        s->bias = CARVE(room, real, s->out);
        s->edge_weight = forward && has_edge_weight(s) ? CARVE(room, real, s->out * s->taps) : NULL;
        /* The odd distance keeps the panels of one block of rows apart in the cache. */
        s->forward_panel = (s->rows + BLOCK_ROWS) * PANEL;
        s->forward =
            forward ? CARVE(room, real, divide_up(s->depth, PANEL) * s->forward_panel) : NULL;
        s->backward = backward ? CARVE(room, real, s->depth * s->rows) : NULL;
    }
}

static void scale_stage(struct chain_stage *s)
{
    const real *b = s->b ? s->b->data : NULL, *logs = s->logs ? s->logs->data : NULL;
    for (int64_t o = 0; o < s->out; o++) {
        s->scale[o] = logs ? (real)exp(s->logscale * (double)logs[o * s->logs->stride[1]]) : 1;
        s->bias[o] = b ? b[o * s->b->stride[1]] * s->scale[o] : 0;
    }
    if (!s->edge_weight) return;
    for (int64_t o = 0; o < s->out; o++) {
        const real *w = (const real *)s->w->data + o * s->w_stride + s->in * s->taps;
        for (int64_t tap = 0; tap < s->taps; tap++)
            s->edge_weight[o * s->taps + tap] = w[tap] * s->scale[o];
    }
}

static int64_t pack_rows(const struct chain_stage *s) { return max_int(16, 32768 / s->depth); }
static int64_t forward_tasks(const struct chain_stage *s)
{
    return s->forward ? divide_up(s->rows, pack_rows(s)) : 0;
}
static int64_t backward_tasks(const struct chain_stage *s)
{
    return s->backward ? block_count(weights_inside(s).columns) : 0;
}

static void pack_task(void *arg, int64_t task, int worker)
{
    struct chain *c = arg;
    (void)worker;
    for (int i = 0; i < c->n_stages; i++) {
        struct chain_stage *s = &c->stage[i];
        if (task < forward_tasks(s)) {
            const struct matrix m = weights_of(s);
            const int64_t first = task * pack_rows(s);
            NAME(pack_panels)
            (s->forward, s->forward_panel, &m, first, min_int(pack_rows(s), s->rows - first));
            return;
        }
        task -= forward_tasks(s);
        if (task < backward_tasks(s)) {
            const struct matrix m = weights_inside(s);
            NAME(pack_blocks)(s->backward, &m, task);
            return;
        }
        task -= backward_tasks(s);
    }
}

void NAME(chain_pack)(struct chain *c, struct pool *pool)
{
    int64_t tasks = 0;
    for (int i = 0; i < c->n_stages; i++) {
        scale_stage(&c->stage[i]);
        tasks += forward_tasks(&c->stage[i]) + backward_tasks(&c->stage[i]);
    }
    pool_run(pool, tasks, pack_task, c);
}

/* Which of the two operands of dW is transposed: the one that costs less, the transposition itself
 * and the columns of the last vector that are computed for nothing taken together. */
static int turned(const struct chain_stage *s)
{
    const int64_t plain = s->rows * divide_up(s->depth, LANES) + s->depth / 2;
    const int64_t other = s->depth * divide_up(s->rows, LANES) + s->rows / 2;
    return other < plain;
}

void NAME(chain_carve_gradients)(struct chain *c, struct carve *room, int64_t units, int threads)
{
    struct carve one = { NULL, 0 }; /* a unit's gradients */
    size_t at[CHAIN_STAGES][3];
    int64_t row = 0;
    for (int i = 0; i < c->n_stages; i++) {
        struct chain_stage *s = &c->stage[i];
        s->dw_turned = turned(s);
        at[i][0] = one.used + 64;
        if (s->want_dw)
            CARVE(&one, real,
                  s->dw_turned ? panels_count(s->depth, s->rows) : panels_count(s->rows, s->depth));
        at[i][1] = one.used + 64;
        if (s->want_db) CARVE(&one, real, s->out * LANES);
        at[i][2] = one.used + 64;
        if (s->want_dw && has_edge_weight(s)) CARVE(&one, real, s->out * s->taps * LANES);
        if (s->want_dw && s->dw_turned)
            s->dw_plain = CARVE(room, real, panels_count(s->rows + LANES, s->depth));
        if (s->want_dw && s->kind == STAGE_SCATTER) row = max_int(row, s->in * s->taps + LANES);
    }
    c->gradient_size = (int64_t)(one.used / sizeof(real));
    c->gradient_units = units;
    c->gradients = CARVE(room, real, c->gradient_size * units);
    c->row_size = divide_up(row, PANEL) * PANEL;
    c->rows = CARVE(room, real, c->row_size * threads);
    for (int i = 0; i < c->n_stages && room->base; i++) {
        struct chain_stage *s = &c->stage[i];
        char *base = (char *)c->gradients;
        s->dw = s->want_dw ? (real *)(base + at[i][0]) : NULL;
        s->db = s->want_db ? (real *)(base + at[i][1]) : NULL;
        s->dedge = s->want_dw && has_edge_weight(s) ? (real *)(base + at[i][2]) : NULL;
    }
}

static void sum_units(void *arg, int64_t task, int worker)
{
    const struct chain *c = arg;
    const int64_t first = task * SUM_PER_TASK, n = min_int(SUM_PER_TASK, c->gradient_size - first);
    real *sum = c->gradients + first;
    (void)worker;
    for (int64_t unit = 1; unit < c->gradient_units; unit++) {
        const real *part = sum + unit * c->gradient_size;
        INDEPENDENT for (int64_t i = 0; i < n; i++) sum[i] += part[i];
    }
}

static real lanes_sum(const real *x)
{
    real sum = 0;
    for (int i = 0; i < LANES; i++) sum += x[i];
    return sum;
}

/* dw of a stage as (rows, depth), whose panels lie dw_panel apart. */
static void plain_dw(void *arg, int64_t stage, int worker)
{
    struct chain_stage *s = &((struct chain *)arg)->stage[stage];
    (void)worker;
    s->dw_panel = s->rows * PANEL;
    if (!s->dw || !s->dw_turned) return;
    s->dw_panel = divide_up(s->rows, LANES) * LANES * PANEL;
    NAME(transpose_panels)(s->dw_plain, s->dw_panel, s->dw, s->depth, s->rows);
    s->dw = s->dw_plain;
}

/* What an output channel's gradients are written to. */
struct outputs {
    const struct chain *chain;
    const struct tensor *out;
};

/* n gradients d in a row: dw = d scale, and the sum of d w is returned; either may be NULL. */
static double unpack_run(const real *d, int64_t n, const real *w, real *dw, real scale)
{
    vec sums = vec_splat(0);
    double dot = 0;
    int64_t i = 0;
    for (; w && i + LANES <= n; i += LANES) sums += vec_load(d + i) * vec_load(w + i);
    for (; w && i < n; i++) dot += (double)(d[i] * w[i]);
    for (int lane = 0; lane < LANES; lane++) dot += (double)sums[lane];
    if (dw)
        for (i = 0; i < n; i++) dw[i] = d[i] * scale;
    return dot;
}

/* The same for output o, in pieces of a panel, or as one row when taps have been put side by side.
 */
static double unpack_inside(const struct chain_stage *s, int64_t o, const real *w, real *dw,
                            real *row)
{
    double dot = 0;
    if (s->kind == STAGE_SCATTER) {
        NAME(unpack_taps)(row, s->dw, s->dw_panel, o * s->taps, s->taps, s->in);
        return unpack_run(row, s->in * s->taps, w, dw, s->scale[o]);
    }
    for (int64_t c = 0; c < s->depth; c += PANEL)
        dot += unpack_run(s->dw + c / PANEL * s->dw_panel + o * PANEL, min_int(PANEL, s->depth - c),
                          w ? w + c : NULL, dw ? dw + c : NULL, s->scale[o]);
    return dot;
}

static void unpack_output(const struct chain_stage *s, int64_t o, const struct tensor *out,
                          real *row)
{
    const int64_t inside = s->in * s->taps, all = inside + s->edge * s->taps;
    const real *w = s->logs ? (const real *)s->w->data + o * s->w_stride : NULL;
    const real db = s->db ? lanes_sum(s->db + o * LANES) : 0;
    real *dw = out[0].data ? (real *)out[0].data + o * all : NULL;
    double dot = s->dw ? unpack_inside(s, o, w, dw, row) : 0;
    for (int64_t tap = 0; tap < s->taps && s->dedge; tap++) {
        const real d = lanes_sum(s->dedge + (o * s->taps + tap) * LANES);
        if (w) dot += (double)(d * w[inside + tap]);
        if (dw) dw[inside + tap] = d * s->scale[o];
    }
    if (dw && s->kind == STAGE_POINT && s->edge) dw[inside] = 0; /* 1 x 1 sees no edge */
    if (out[1].data) ((real *)out[1].data)[o] = db * s->scale[o];
    if (out[2].data && s->logs)
        ((real *)out[2].data)[o] =
            (real)(s->logscale * (dot * (double)s->scale[o] + (double)(s->bias[o] * db)));
}

static void unpack_task(void *arg, int64_t task, int worker)
{
    const struct outputs *u = arg;
    real *row = u->chain->rows + worker * u->chain->row_size;
    for (int i = 0; i < u->chain->n_stages; i++) {
        const struct chain_stage *s = &u->chain->stage[i];
        const int64_t n = divide_up(s->out, OUTPUTS_PER_TASK);
        if (task < n) {
            const int64_t end = min_int(s->out, (task + 1) * OUTPUTS_PER_TASK);
            for (int64_t o = task * OUTPUTS_PER_TASK; o < end; o++)
                unpack_output(s, o, u->out + 3 * i, row);
            return;
        }
        task -= n;
    }
}

void NAME(chain_unpack)(struct chain *c, struct pool *pool, const struct tensor *out)
{
    struct outputs u = { c, out };
    int64_t tasks = 0;
    for (int i = 0; i < c->n_stages; i++) tasks += divide_up(c->stage[i].out, OUTPUTS_PER_TASK);
    if (c->gradient_units > 1)
        pool_run(pool, divide_up(c->gradient_size, SUM_PER_TASK), sum_units, c);
    pool_run(pool, c->n_stages, plain_dw, c);
    pool_run(pool, tasks, unpack_task, &u);
}
