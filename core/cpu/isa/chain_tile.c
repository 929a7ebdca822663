/* chain_tile.c - what is done with one tile of pixels: products of a stage's weights with panels
 * (channel, pixel), forward and backward. */
#include "chain.h"

void NAME(chain_tile)(const struct chain *c, int64_t tile, struct tile *t)
{
    const int64_t first = tile * c->tile;
    NAME(tile_set)(t, first, min_int(c->tile, c->pixels - first), c->height, c->width);
    NAME(chain_set_borders)(c, t);
    t->pool = c->pool;
}

/* Reals in panels with `rows` rows, made where reals_of() said, become operands. */
static void round_tile(const struct tile *t, const struct panels *to, const real *wide,
                       int64_t rows)
{
#ifdef BF16
    NAME(round_panels)(to, wide, rows, rows, divide_up(t->count, PANEL));
#else
    (void)t, (void)to, (void)wide, (void)rows;
#endif
}

const real *NAME(chain_read)(const struct chain *c, const struct tile *t, const struct window *look,
                             const struct planes *from, real *wide, const struct panels *to)
{
    const int64_t next = t->first + t->count;
    real *gathered = reals_of(to, wide);
    NAME(im2col)(t, look, from, gathered);
    round_tile(t, to, gathered, window_rows(look));
    NAME(planes_fetch)(from, look->channels, c->plane, next, min_int(c->tile, c->pixels - next));
    return gathered;
}

/* A product with the weights as A, as they lie or transposed. The caller says where its result
 * goes. */
static struct product product_of(const struct chain_stage *s, const struct tile *t, int a_turned,
                                 int64_t rows, int64_t depth, const struct panels *b)
{
    const int64_t room = s->packing.panel_stride / PANEL; /* rows in a panel of the weights */
    return (struct product){
        .rows = rows,
        .columns = t->count,
        .depth = divide_up(depth, PER_WORD),
        .a = a_turned ? s->operands.paired : s->operands.plain,
        .a_panel = a_turned ? paired_panel(room) : plain_panel(room),
        .a_turned = a_turned,
        .b = b->paired,
        .b_stride = PANEL,
        .b_panel = paired_panel(depth),
        .pool = t->pool,
    };
}
static struct product forward_product(const struct chain_stage *s, const struct tile *t,
                                      const struct panels *operand)
{
    return product_of(s, t, s->packing.turned, s->rows, s->depth, operand);
}
/* Without the edge channel. */
static struct product backward_product(const struct chain_stage *s, const struct tile *t,
                                       const struct panels *d)
{
    const int64_t rows = s->kind == STAGE_GATHER ? s->in * s->taps : s->in;
    return product_of(s, t, !s->packing.turned, rows, s->rows, d);
}

/* Where results go: panels of reals, sums around the tile, or operands. */
static void into_reals(struct product *p, real *panels)
{
    p->c = panels;
    p->c_stride = PANEL;
    p->c_panel = p->rows * PANEL;
}
static void into_sums(struct product *p, real *sums, int64_t pitch)
{
    p->c = sums;
    p->c_stride = pitch;
    p->c_panel = PANEL;
}
static void into_operands(struct product *p, const struct panels *to)
{
    if (PER_WORD == 1)
        into_reals(p, reals_of(to, NULL));
    else
        p->to = *to;
}

/* The vectors of a panel that hold pixels of the tile. */
static int64_t used(const struct tile *t, int64_t at)
{
    return min_int(PANEL, divide_up(t->count - at, LANES) * LANES);
}

void NAME(chain_run_stage)(const struct chain_stage *s, const struct tile *t,
                           const struct panels *operand, real *wide, const struct panels *to,
                           struct ahead *ahead)
{
    struct product p = forward_product(s, t, operand);
    p.ahead = ahead;
    p.border = s->border;
    p.kinds = s->bordered ? t->border : NULL;
    p.scale = s->scale;
    p.bias = s->bias;
    p.relu = s->act == GLOW_ACT_RELU;
    if (s->act <= GLOW_ACT_RELU) {
        into_operands(&p, to);
        NAME(product)(&p);
        return;
    }
    real *y = reals_of(to, wide), *row = y;
    into_reals(&p, y);
    NAME(product)(&p);
    for (int64_t at = 0; at < t->count; at += PANEL)
        for (int64_t r = 0; r < s->rows; r++, row += PANEL)
            NAME(chain_activate)(row, used(t, at), s->act);
    round_tile(t, to, y, s->rows);
}

void NAME(chain_run_last)(const struct chain_stage *s, const struct tile *t,
                          const struct panels *operand, real *spare, real *sums, int64_t pitch,
                          struct ahead *ahead)
{
    const int scatters = s->kind == STAGE_SCATTER;
    const struct window back = result_window(s, -1), edge = result_window(s, 1);
    struct product p = forward_product(s, t, operand);
    p.ahead = ahead;
    if (scatters)
        into_reals(&p, spare);
    else
        into_sums(&p, sums, pitch);
    NAME(product)(&p);
    if (scatters) NAME(col2im)(t, &back, spare, sums, pitch);
    if (s->bordered)
        NAME(chain_add_borders)(s, t, sums, pitch);
    else if (scatters && s->edge)
        NAME(edge_add)(t, &edge, s->edge_weight, sums, pitch);
}

/* A row of a plain panel in reals, in `room` unless it is there already. */
static const real *row_of(const word *plain, real room[PANEL])
{
#ifdef BF16
    for (int v = 0; v < 2; v++) vec_store(room + v * LANES, word_load_row(plain, v));
    return room;
#else
    (void)room;
    return plain;
#endif
}

void NAME(chain_pull_back)(const struct chain_stage *s, const struct tile *t,
                           const struct panels *d, real *wide, const struct panels *to,
                           const struct chain_stage *before, const word *hidden, real *db,
                           struct ahead *ahead)
{
    struct product p = backward_product(s, t, d);
    p.ahead = ahead;
    if (before->act <= GLOW_ACT_RELU) {
        p.mask = before->act == GLOW_ACT_RELU ? hidden : NULL;
        p.scale = before->scale;
        p.sums = db;
        p.kinds = before->bordered ? t->border : NULL;
        into_operands(&p, to);
        NAME(product)(&p);
        return;
    }
    real *dx = reals_of(to, wide), *row = dx, room[PANEL];
    into_reals(&p, dx);
    NAME(product)(&p);
    for (int64_t at = 0; at < t->count; at += PANEL)
        for (int64_t r = 0; r < s->in; r++, row += PANEL, hidden += PANEL_WORDS) {
            NAME(chain_activate_vjp)(row, row_of(hidden, room), used(t, at), before->act);
            for (int64_t i = 0; i < PANEL && before->scale; i++) row[i] *= before->scale[r];
        }
    if (db) NAME(chain_totals)(before, t, dx, s->in, 1, db, s->in);
    round_tile(t, to, dx, s->in);
}

void NAME(chain_pull_first)(const struct chain_stage *s, const struct tile *t,
                            const struct panels *d, real *spare, real *sums, int64_t pitch)
{
    const int scatters = s->kind == STAGE_GATHER;
    const struct window look = { s->in, s->kh, s->kw, 1, 0, NULL };
    struct product p = backward_product(s, t, d);
    if (scatters)
        into_reals(&p, spare);
    else
        into_sums(&p, sums, pitch);
    NAME(product)(&p);
    if (scatters) NAME(col2im)(t, &look, spare, sums, pitch);
}

void NAME(chain_totals)(const struct chain_stage *s, const struct tile *t, const real *panels,
                        int64_t rows, int64_t step, real *totals, int64_t n)
{
    for (int64_t at = 0; at < t->count; at += LANES) {
        const real *in = panels + at / PANEL * rows * PANEL + at % PANEL;
        real *total = totals + (s->bordered ? t->border[at / LANES] * n * LANES : 0);
        for (int64_t r = 0; r < n; r++, total += LANES, in += step * PANEL)
            vec_store(total, vec_load(total) + vec_load(in));
    }
}

void NAME(chain_dw)(const struct chain *c, const struct chain_stage *s, const struct tile *t,
                    const word *d, const word *hidden, word *turned, real *dw, int add,
                    struct ahead *ahead)
{
    const int turn = s->packing.turned;
    const int64_t rows = turn ? s->depth : s->rows, columns = turn ? s->rows : s->depth;
    const word *left = turn ? hidden : d, *right = turn ? d : hidden;
    const struct product p = {
        .rows = rows,
        .columns = columns,
        .depth = divide_up(t->count, PER_WORD),
        .a = left,
        .a_panel = plain_panel(rows),
        .b = turned,
        .b_stride = PANEL,
        .b_panel = paired_panel(c->tile),
        .c = dw,
        .c_stride = PANEL,
        .c_panel = s->packing.panel_stride,
        .add = add,
        .ahead = ahead,
        .pool = t->pool,
    };
    NAME(transpose_panels)(t->pool, turned, paired_panel(c->tile), right, columns, t->count);
    NAME(product)(&p);
}
