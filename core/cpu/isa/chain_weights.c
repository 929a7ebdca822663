/* chain_weights.c - weights of a chain as operands of products, and their gradients. Weights are
 * kept packed (packing.h), or are packed for one run. The scale of a stage multiplies the products'
 * results instead, y = e (W x) + b e with e = exp(logscale logs); gradients of results are
 * multiplied by e before they go on, so that dW and db need nothing more, and
 * dlogs_o = logscale (sum_k W_ok dW_ok + b_o db_o)  comes from weights alone. */
#include <string.h>
#include "chain.h"
#include "real_math.h"

#define OUTPUTS_PER_TASK 32
#define ROWS_PER_TASK    64

static int is_packed(const struct chain_stage *s) { return s->w->packing != NULL; }
/* Whether the edge channel is added, and its gradient summed up, tap by tap. */
static int has_edge_weight(const struct chain_stage *s)
{
    return s->kind == STAGE_SCATTER && s->edge && !s->bordered;
}

/* Results are made of the weights as they are kept, gradients of their transpose; what a product
 * wants turned wants to be paired. */
static void carve_operands(struct chain_stage *s, struct carve *room, int uses)
{
#ifdef BF16
    const int turned = s->packing.turned;
    const int64_t room_rows = s->packing.panel_stride / PANEL;
    const int64_t panels = s->packing.edge_offset / s->packing.panel_stride;
    const int plain = uses & (turned ? FOR_GRADIENT : FOR_RESULT);
    const int paired = uses & (turned ? FOR_RESULT : FOR_GRADIENT);
    s->operands = carve_panels(room, plain ? panels * plain_panel(room_rows) : 0,
                               paired ? panels * paired_panel(room_rows) : 0);
#else
    (void)room, (void)uses;
    s->operands = panels_of((real *)(uintptr_t)s->weights, NULL);
#endif
}

void NAME(chain_carve_weights)(struct chain *c, struct carve *room, int uses)
{
    for (int i = 0; i < c->n_stages; i++) {
        struct chain_stage *s = &c->stage[i];
        s->scale = s->logs ? CARVE(room, real, s->out) : NULL;
        s->bias = s->b ? CARVE(room, real, s->out) : NULL;
        s->weights = !uses ? NULL : is_packed(s) ? s->w->data : CARVE(room, real, s->packing.count);
        s->edge_weight =
            s->weights && has_edge_weight(s) ? s->weights + s->packing.edge_offset : NULL;
        s->border = uses && s->bordered ? CARVE(room, real, chain_db_size(c, s)) : NULL;
        carve_operands(s, room, uses);
    }
}

static void set_scale(const struct chain_stage *s)
{
    const real *b = s->b ? s->b->data : NULL, *logs = s->logs ? s->logs->data : NULL;
    const int64_t b_step = s->b ? s->b->stride[1] : 0, logs_step = s->logs ? s->logs->stride[1] : 0;
    const real factor = (real)s->logscale;
    if (s->scale) {
        INDEPENDENT for (int64_t o = 0; o < s->out; o++) s->scale[o] =
            real_exp(factor * logs[o * logs_step]);
    }
    if (!s->bias) return;
    for (int64_t o = 0; o < s->out; o++) s->bias[o] = b[o * b_step];
    if (s->scale) { INDEPENDENT for (int64_t o = 0; o < s->out; o++) s->bias[o] *= s->scale[o]; }
}

/* Where output o of plain weights would begin if all outputs lay one behind the other. */
static const real *as_dense(const struct chain_stage *s, int64_t o)
{
    return (const real *)s->w->data + o * (s->w->stride[1] - (s->in + s->edge) * s->taps);
}

/* The outputs of all stages in turn, some in a task. */
static int64_t output_tasks(const struct chain *c)
{
    int64_t tasks = 0;
    for (int i = 0; i < c->n_stages; i++) tasks += divide_up(c->stage[i].out, OUTPUTS_PER_TASK);
    return tasks;
}
static struct chain_stage *outputs_of_task(struct chain *c, int64_t task, int64_t *first,
                                           int64_t *end)
{
    struct chain_stage *s = c->stage;
    for (int64_t n; task >= (n = divide_up(s->out, OUTPUTS_PER_TASK)); s++) task -= n;
    *first = task * OUTPUTS_PER_TASK;
    *end = min_int(s->out, *first + OUTPUTS_PER_TASK);
    return s;
}

static void pack_task(void *arg, int64_t task, int worker)
{
    int64_t o, end;
    const struct chain_stage *s = outputs_of_task(arg, task, &o, &end);
    (void)worker;
    for (; o < end && s->weights && !is_packed(s); o++)
        packing_pack_outputs(&s->packing, REAL_DTYPE, (real *)(uintptr_t)s->weights, as_dense(s, o),
                             o, 1);
}

static void border_task(void *arg, int64_t task, int worker)
{
    int64_t o, end;
    const struct chain_stage *s = outputs_of_task(arg, task, &o, &end);
    (void)worker;
    if (s->border) NAME(chain_make_borders)(arg, s, o, end);
}

#ifdef BF16
static int64_t panels_to_round(const struct chain_stage *s)
{
    const int wanted = s->operands.plain || s->operands.paired;
    return wanted ? s->packing.edge_offset / s->packing.panel_stride : 0;
}

/* A panel of weights of all stages in turn. */
static void round_task(void *arg, int64_t panel, int worker)
{
    const struct chain *c = arg;
    const struct chain_stage *s = c->stage;
    (void)worker;
    for (int64_t n; panel >= (n = panels_to_round(s)); s++) panel -= n;
    const int64_t room = s->packing.panel_stride / PANEL;
    const struct panels to = {
        s->operands.plain ? s->operands.plain + panel * plain_panel(room) : NULL,
        s->operands.paired ? s->operands.paired + panel * paired_panel(room) : NULL,
    };
    NAME(round_panels)
    (&to, s->weights + panel * s->packing.panel_stride, packing_rows(&s->packing), room, 1);
}
#endif

void NAME(chain_pack)(struct chain *c, struct pool *pool)
{
    int packed = 1, bordered = 0;
    for (int i = 0; i < c->n_stages; i++) {
        const struct chain_stage *s = &c->stage[i];
        set_scale(s);
        bordered |= s->border != NULL;
        if (!s->weights || is_packed(s)) continue;
        memset((real *)(uintptr_t)s->weights, 0, (size_t)s->packing.count * sizeof(real));
        packed = 0;
    }
    if (!packed) pool_run(pool, output_tasks(c), pack_task, c);
    if (bordered) pool_run(pool, output_tasks(c), border_task, c);
#ifdef BF16
    int64_t panels = 0;
    for (int i = 0; i < c->n_stages; i++) panels += panels_to_round(&c->stage[i]);
    pool_run(pool, panels, round_task, c);
#endif
}

/* ---- gradients */

void NAME(chain_carve_gradients)(struct chain *c, struct carve *room, int64_t units,
                                 const struct tensor *out)
{
    struct carve others = { NULL, 0 }, totals = { NULL, 0 };
    size_t at[CHAIN_STAGES][2];
    for (int i = 0; i < c->n_stages; i++, out += 3) {
        struct chain_stage *s = &c->stage[i];
        const int edge = s->want_dw && has_edge_weight(s);
        s->want_db |= s->want_dw && s->bordered;
        s->dw_offset = (int64_t)((others.used + 64) / sizeof(real));
        if (s->want_dw) CARVE(&others, real, s->packing.edge_offset);
        at[i][0] = totals.used + 64;
        if (s->want_db) CARVE(&totals, real, chain_db_size(c, s));
        at[i][1] = totals.used + 64;
        if (edge) CARVE(&totals, real, s->out * s->taps * LANES);
        s->dw = !s->want_dw                     ? NULL
                : out[0].data && out[0].packing ? out[0].data
                                                : CARVE(room, real, s->packing.count);
        s->dot = s->want_dlogs ? CARVE(room, real, divide_up(s->rows, PANEL) * PANEL) : NULL;
    }
    c->units = units;
    c->gradient_size = (int64_t)(others.used / sizeof(real));
    c->totals_size = (int64_t)(totals.used / sizeof(real));
    c->gradients = CARVE(room, real, c->gradient_size * (units - 1));
    char *base = CARVE(room, char, (int64_t)totals.used *units);
    for (int i = 0; i < c->n_stages && room->base; i++) {
        struct chain_stage *s = &c->stage[i];
        s->db = s->want_db ? (real *)(base + at[i][0]) : NULL;
        s->dedge = s->want_dw && has_edge_weight(s) ? (real *)(base + at[i][1]) : NULL;
    }
}

/* A part of the panels of dw: rows first .. end-1 of panel number `panel`. */
struct piece {
    const struct chain *chain;
    const struct chain_stage *stage;
    int64_t panel, first, end;
};

/* Adds up the units' gradients of two vectors or one, and returns their products with w. */
ALWAYS_INLINE void add_units(const struct piece *p, const int vectors, int64_t at, vec product[2])
{
    const struct chain *c = p->chain;
    const real *w = p->stage->weights, *other = c->gradients + p->stage->dw_offset + at;
    vec sum[2];
    for (int v = 0; v < vectors; v++) sum[v] = vec_load(p->stage->dw + at + v * LANES);
    for (int64_t unit = 1; unit < c->units; unit++, other += c->gradient_size)
        for (int v = 0; v < vectors; v++) sum[v] += vec_load(other + v * LANES);
    for (int v = 0; v < vectors; v++) {
        if (c->units > 1) vec_store(p->stage->dw + at + v * LANES, sum[v]);
        product[v] = p->stage->dot ? sum[v] * vec_load(w + at + v * LANES) : vec_splat(0);
    }
}

/* The products summed along rows, row by row (by_row[r - first] += ...), or down columns. */
ALWAYS_INLINE void gather_piece(const struct piece *p, const int vectors, vec *by_row,
                                vec by_column[2])
{
    const int64_t base = p->panel * p->stage->packing.panel_stride;
    for (int64_t r = p->first; r < p->end; r++) {
        vec product[2] = { vec_splat(0), vec_splat(0) };
        add_units(p, vectors, base + r * PANEL, product);
        if (by_row) by_row[r - p->first] += vectors == 2 ? product[0] + product[1] : product[0];
        for (int v = 0; v < vectors && by_column; v++) by_column[v] += product[v];
    }
}

/* The columns that products have written, in whole vectors: not the edge channel of 1 x 1. */
static int64_t columns_of(const struct chain_stage *s)
{
    return s->packing.turned ? s->rows : s->depth;
}
static int vectors_of(const struct chain_stage *s, int64_t panel)
{
    return columns_of(s) - panel * PANEL > LANES ? 2 : 1;
}

/* Where dW lies as it is, a task has some rows, through all panels: dot is summed along rows. */
static void gather_rows(const struct chain *c, const struct chain_stage *s, int64_t task)
{
    struct piece p = { c, s, 0, task * ROWS_PER_TASK, 0 };
    vec by_row[ROWS_PER_TASK];
    p.end = min_int(s->rows, p.first + ROWS_PER_TASK);
    for (int r = 0; r < ROWS_PER_TASK; r++) by_row[r] = vec_splat(0);
    for (; p.panel * PANEL < columns_of(s); p.panel++) {
        if (vectors_of(s, p.panel) == 2)
            gather_piece(&p, 2, by_row, NULL);
        else
            gather_piece(&p, 1, by_row, NULL);
    }
    for (int64_t r = p.first; r < p.end && s->dot; r++) s->dot[r] = lanes_sum(by_row[r - p.first]);
}

/* Where it lies turned, a task has a panel: dot is summed down columns. */
static void gather_panel(const struct chain *c, const struct chain_stage *s, int64_t task)
{
    const struct piece p = { c, s, task, 0, s->depth };
    vec by_column[2] = { vec_splat(0), vec_splat(0) };
    if (vectors_of(s, task) == 2)
        gather_piece(&p, 2, NULL, by_column);
    else
        gather_piece(&p, 1, NULL, by_column);
    for (int v = 0; v < 2 && s->dot; v++)
        vec_store(s->dot + task * PANEL + v * LANES, by_column[v]);
}

static int64_t gather_tasks(const struct chain *c, const struct chain_stage *s)
{
    if (!s->dw || (c->units == 1 && !s->dot)) return 0;
    return divide_up(s->rows, s->packing.turned ? PANEL : ROWS_PER_TASK);
}

static void gather_task(void *arg, int64_t task, int worker)
{
    const struct chain *c = arg;
    const struct chain_stage *s = c->stage;
    (void)worker;
    for (int64_t n; task >= (n = gather_tasks(c, s)); s++) task -= n;
    if (s->packing.turned)
        gather_panel(c, s, task);
    else
        gather_rows(c, s, task);
}

/* The sum over units of what is counted in vectors; n numbers of them. */
static real total_of(const struct chain *c, const real *totals)
{
    vec sum = vec_splat(0);
    for (int64_t unit = 0; unit < c->units; unit++, totals += c->totals_size)
        sum += vec_load(totals);
    return lanes_sum(sum);
}

struct outputs {
    struct chain *chain;
    const struct tensor *out;
};

static void finish_output(const struct chain *c, const struct chain_stage *s, int64_t o,
                          const struct tensor *out)
{
    const real db = !s->db        ? 0
                    : s->bordered ? NAME(chain_border_gradients)(c, s, o)
                                  : total_of(c, s->db + o * LANES);
    const int64_t group = s->rows / s->out;
    double dot = 0;
    for (int64_t tap = 0; tap < s->taps && s->dedge; tap++) {
        const int64_t at = s->packing.edge_offset + o * s->taps + tap;
        s->dw[at] = total_of(c, s->dedge + (o * s->taps + tap) * LANES);
        if (s->dot) dot += (double)(s->dw[at] * s->weights[at]);
    }
    if (out[1].data) ((real *)out[1].data)[o] = db;
    if (!s->dot) return;
    for (int64_t i = 0; i < group; i++) dot += (double)s->dot[o * group + i];
    if (s->bordered) dot += NAME(chain_border_dot)(s, o);
    if (s->b) dot += (double)(((const real *)s->b->data)[o * s->b->stride[1]] * db);
    ((real *)out[2].data)[o] = (real)(s->logscale * dot);
}

static void finish_task(void *arg, int64_t task, int worker)
{
    const struct outputs *u = arg;
    int64_t first, end;
    const struct chain_stage *s = outputs_of_task(u->chain, task, &first, &end);
    const struct tensor *out = u->out + 3 * (s - u->chain->stage);
    const int64_t all = (s->in + s->edge) * s->taps;
    (void)worker;
    for (int64_t o = first; o < end; o++) finish_output(u->chain, s, o, out);
    if (!out[0].data || out[0].packing) return;
    packing_unpack_outputs(&s->packing, REAL_DTYPE, out[0].data, s->dw, first, end - first);
    for (int64_t o = first; o < end && s->kind == STAGE_POINT && s->edge; o++)
        ((real *)out[0].data)[(o + 1) * all - 1] = 0; /* 1 x 1 sees no edge */
}

void NAME(chain_gather)(struct chain *c, struct pool *pool, const struct tensor *out)
{
    struct outputs u = { c, out };
    int64_t tasks = 0;
    for (int i = 0; i < c->n_stages; i++) tasks += gather_tasks(c, &c->stage[i]);
    pool_run(pool, tasks, gather_task, c);
    pool_run(pool, output_tasks(c), finish_task, &u);
}
