/* chain_tile.c - what is done with one tile of pixels: products of a stage's weights with panels
 * (channel, pixel), forward and backward. */
#include "chain.h"

void NAME(chain_tile)(const struct chain *c, int64_t tile, struct tile *t)
{
    const int64_t first = tile * c->tile;
    NAME(tile_set)(t, first, min_int(c->tile, c->pixels - first), c->height, c->width);
}

void NAME(chain_read)(const struct chain *c, const struct tile *t, const struct window *look,
                      const struct planes *from, real *panels)
{
    const int64_t next = t->first + t->count;
    NAME(im2col)(t, look, from, panels);
    NAME(planes_fetch)(from, look->channels, c->plane, next, min_int(c->tile, c->pixels - next));
}

/* W X into panels; the caller says what else is to be done. */
static struct product forward_product(const struct chain_stage *s, const struct tile *t,
                                      const real *operand, real *to)
{
    return (struct product){
        .rows = s->rows,
        .columns = t->count,
        .depth = s->depth,
        .a = s->weights,
        .a_panel = s->packing.panel_stride,
        .a_turned = s->packing.turned,
        .b = operand,
        .b_stride = PANEL,
        .b_panel = s->depth * PANEL,
        .c = to,
        .c_stride = PANEL,
        .c_panel = s->rows * PANEL,
    };
}

/* W^T D into panels, without the edge channel. */
static struct product backward_product(const struct chain_stage *s, const struct tile *t,
                                       const real *d, real *to)
{
    const int64_t rows = s->kind == STAGE_GATHER ? s->in * s->taps : s->in;
    return (struct product){
        .rows = rows,
        .columns = t->count,
        .depth = s->rows,
        .a = s->weights,
        .a_panel = s->packing.panel_stride,
        .a_turned = !s->packing.turned,
        .b = d,
        .b_stride = PANEL,
        .b_panel = s->rows * PANEL,
        .c = to,
        .c_stride = PANEL,
        .c_panel = rows * PANEL,
    };
}

/* The vectors of a panel that hold pixels of the tile. */
static int64_t used(const struct tile *t, int64_t at)
{
    return min_int(PANEL, divide_up(t->count - at, LANES) * LANES);
}

void NAME(chain_run_stage)(const struct chain_stage *s, const struct tile *t, const real *operand,
                           real *to, struct ahead *ahead)
{
    struct product p = forward_product(s, t, operand, to);
    p.ahead = ahead;
    p.scale = s->scale;
    p.bias = s->bias;
    p.relu = s->act == GLOW_ACT_RELU;
    NAME(product)(&p);
    if (s->act <= GLOW_ACT_RELU) return;
    for (int64_t at = 0; at < t->count; at += PANEL)
        for (int64_t r = 0; r < s->rows; r++, to += PANEL)
            NAME(chain_activate)(to, used(t, at), s->act);
}

void NAME(chain_run_last)(const struct chain_stage *s, const struct tile *t, const real *operand,
                          real *spare, real *sums, int64_t pitch, struct ahead *ahead)
{
    const int scatters = s->kind == STAGE_SCATTER;
    const struct window back = result_window(s, -1), edge = result_window(s, 1);
    struct product p = forward_product(s, t, operand, spare);
    p.ahead = ahead;
    if (!scatters) {
        p.c = sums;
        p.c_stride = pitch;
        p.c_panel = PANEL;
    }
    NAME(product)(&p);
    if (scatters) NAME(col2im)(t, &back, spare, sums, pitch);
    if (scatters && s->edge) NAME(edge_add)(t, &edge, s->edge_weight, sums, pitch);
}

void NAME(chain_pull_back)(const struct chain_stage *s, const struct tile *t, const real *d,
                           real *to, const struct chain_stage *before, const real *hidden, real *db,
                           struct ahead *ahead)
{
    struct product p = backward_product(s, t, d, to);
    p.ahead = ahead;
    if (before->act <= GLOW_ACT_RELU) {
        p.mask = before->act == GLOW_ACT_RELU ? hidden : NULL;
        p.scale = before->scale;
        p.sums = db;
        NAME(product)(&p);
        return;
    }
    NAME(product)(&p);
    for (int64_t at = 0, row = 0; at < t->count; at += PANEL)
        for (int64_t r = 0; r < s->in; r++, row += PANEL) {
            NAME(chain_activate_vjp)(to + row, hidden + row, used(t, at), before->act);
            for (int64_t i = 0; i < PANEL && before->scale; i++) to[row + i] *= before->scale[r];
        }
    if (db) NAME(chain_totals)(t, to, s->in, 1, db, s->in);
}

void NAME(chain_pull_first)(const struct chain_stage *s, const struct tile *t, const real *d,
                            real *spare, real *sums, int64_t pitch)
{
    const int scatters = s->kind == STAGE_GATHER;
    const struct window look = { s->in, s->kh, s->kw, 1, 0, NULL };
    struct product p = backward_product(s, t, d, spare);
    if (!scatters) {
        p.c = sums;
        p.c_stride = pitch;
        p.c_panel = PANEL;
    }
    NAME(product)(&p);
    if (scatters) NAME(col2im)(t, &look, spare, sums, pitch);
}

void NAME(chain_totals)(const struct tile *t, const real *panels, int64_t rows, int64_t step,
                        real *totals, int64_t n)
{
    for (int64_t r = 0; r < n; r++) {
        vec total = vec_load(totals + r * LANES);
        for (int64_t at = 0; at < t->count; at += LANES)
            total += vec_load(panels + at / PANEL * rows * PANEL + r * step * PANEL + at % PANEL);
        vec_store(totals + r * LANES, total);
    }
}

void NAME(chain_dw)(const struct chain *c, const struct chain_stage *s, const struct tile *t,
                    const real *d, const real *hidden, real *turned, real *dw, int add,
                    struct ahead *ahead)
{
    const int turn = s->packing.turned;
    const int64_t rows = turn ? s->depth : s->rows, columns = turn ? s->rows : s->depth;
    const real *left = turn ? hidden : d, *right = turn ? d : hidden;
    const struct product p = {
        .rows = rows,
        .columns = columns,
        .depth = t->count,
        .a = left,
        .a_panel = rows * PANEL,
        .b = turned,
        .b_stride = PANEL,
        .b_panel = c->tile * PANEL,
        .c = dw,
        .c_stride = PANEL,
        .c_panel = s->packing.panel_stride,
        .add = add,
        .ahead = ahead,
    };
    NAME(transpose_panels)(turned, c->tile * PANEL, right, columns, t->count);
    NAME(product)(&p);
}
