/* chain_border.c - the edge channel without multiplying it. That channel is 1 outside the image, so
 * what it adds to a pixel depends only on which taps look outside: on the border that the pixel
 * lies at. Vectors of pixels that lie at the same borders get the same vector added for each
 * output, made once from the weights; and where the gradient of the result is summed up for each
 * such kind of vector, the sums hold the gradients of the edge channel's weights, too. */
#include <string.h>
#include "chain.h"

enum { FIRST_ROW = 1, LAST_ROW = 2, FIRST_COLUMN = 4, LAST_COLUMN = 8 };

/* The borders that the vector at pixel q of a plane lies at: it is a part of a row, or whole rows.
 */
static int borders_at(const struct chain *c, int64_t q)
{
    const int64_t end = q + LANES, x = q % c->width;
    return (q < c->width ? FIRST_ROW : 0) | (end > c->plane - c->width ? LAST_ROW : 0) |
           (x == 0 ? FIRST_COLUMN : 0) | (x + LANES >= c->width ? LAST_COLUMN : 0);
}

/* Lanes of the vector at pixel q whose pixel sees the tap outside the image. */
static vec_int outside(const struct chain *c, int64_t q, int64_t dy, int64_t dx)
{
    vec_int mask = { 0 };
    for (int lane = 0; lane < LANES; lane++, q++) {
        const int64_t y = q / c->width + dy, x = q % c->width + dx;
        mask[lane] = y < 0 || y >= c->height || x < 0 || x >= c->width ? -1 : 0;
    }
    return mask;
}

void NAME(chain_find_borders)(struct chain *c)
{
    struct chain_borders *b = &c->borders;
    int used = 0;
    for (int i = 0; i < c->n_stages; i++) used |= c->stage[i].edge;
    if (!used || (c->width % LANES && (LANES % c->width || c->plane % LANES))) return;
    memset(b->kind, -1, sizeof b->kind);
    b->kind[0] = 0; /* the inside, which gets nothing */
    b->n = 1;
    for (int64_t q = 0; q < c->plane; q += LANES) {
        int8_t *kind = &b->kind[borders_at(c, q)];
        if (*kind >= 0) continue;
        for (int tap = 0; tap < 9; tap++)
            b->outside[b->n][tap] = outside(c, q, tap / 3 - 1, tap % 3 - 1);
        *kind = (int8_t)b->n++;
    }
}

int NAME(chain_has_borders)(const struct chain *c, int stage)
{
    const struct chain_stage *s = &c->stage[stage];
    const int inside =
        s->kind == STAGE_GATHER && s->act <= GLOW_ACT_RELU && !chain_is_planar(c, stage);
    return c->borders.n > 0 && s->edge && s->kh <= 3 && s->kw <= 3 &&
           (inside || s->kind == STAGE_SCATTER);
}

void NAME(chain_set_borders)(const struct chain *c, struct tile *t)
{
    for (int64_t at = 0; at < t->count && c->borders.n > 0; at += LANES)
        t->border[at / LANES] = c->borders.kind[borders_at(c, (t->first + at) % c->plane)];
}

/* Where a kernel smaller than 3 x 3 has its tap in one. */
ALWAYS_INLINE vec_int mask_of(const struct chain *c, const struct chain_stage *s, int kind,
                              int64_t tap)
{
    const int64_t i = tap / s->kw + 1 - s->kh / 2, j = tap % s->kw + 1 - s->kw / 2;
    return c->borders.outside[kind][i * 3 + j];
}

/* The edge channel's weight of output o and tap 0, and how far the taps lie apart. */
static int64_t edge_position(const struct chain_stage *s, int64_t o, int64_t tap)
{
    if (s->kind == STAGE_SCATTER) return s->packing.edge_offset + o * s->taps + tap;
    const int64_t column = s->in * s->taps + tap;
    const int64_t r = s->packing.turned ? column : o, c = s->packing.turned ? o : column;
    return c / PANEL * s->packing.panel_stride + r * PANEL + c % PANEL;
}

void NAME(chain_make_borders)(const struct chain *c, const struct chain_stage *s, int64_t first,
                              int64_t end)
{
    vec_int mask[BORDER_KINDS][9];
    for (int kind = 1; kind < c->borders.n; kind++)
        for (int64_t tap = 0; tap < s->taps; tap++) mask[kind][tap] = mask_of(c, s, kind, tap);
    for (int64_t o = first; o < end; o++) {
        vec_int weight[9];
        for (int64_t tap = 0; tap < s->taps; tap++)
            weight[tap] = (vec_int)word_rounded(vec_splat(s->weights[edge_position(s, o, tap)]));
        for (int kind = 1; kind < c->borders.n; kind++) {
            vec sum = vec_splat(0);
            for (int64_t tap = 0; tap < s->taps; tap++) sum += (vec)(weight[tap] & mask[kind][tap]);
            vec_store(s->border + (kind * s->out + o) * LANES, sum);
        }
    }
}

void NAME(chain_add_borders)(const struct chain_stage *s, const struct tile *t, real *sums,
                             int64_t pitch)
{
    for (int64_t at = 0; at < t->count; at += LANES) {
        const int kind = t->border[at / LANES];
        const real *border = s->border + kind * s->out * LANES;
        real *to = sums + at;
        for (int64_t o = 0; o < s->out && kind > 0; o++, to += pitch, border += LANES)
            vec_store(to, vec_load(to) + vec_load(border));
    }
}

real NAME(chain_border_gradients)(const struct chain *c, const struct chain_stage *s, int64_t o)
{
    vec total = vec_splat(0), edge[9];
    for (int64_t tap = 0; tap < s->taps; tap++) edge[tap] = vec_splat(0);
    for (int kind = 0; kind < c->borders.n; kind++) {
        const real *sums = s->db + (kind * s->out + o) * LANES;
        vec sum = vec_splat(0);
        for (int64_t unit = 0; unit < c->units; unit++, sums += c->totals_size)
            sum += vec_load(sums);
        total += sum;
        for (int64_t tap = 0; tap < s->taps && kind > 0; tap++)
            edge[tap] += vec_select(mask_of(c, s, kind, tap), sum, vec_splat(0));
    }
    for (int64_t tap = 0; tap < s->taps && s->dw; tap++)
        s->dw[edge_position(s, o, tap)] = lanes_sum(edge[tap]);
    return lanes_sum(total);
}

double NAME(chain_border_dot)(const struct chain_stage *s, int64_t o)
{
    double dot = 0;
    for (int64_t tap = 0; tap < s->taps; tap++) {
        const int64_t at = edge_position(s, o, tap);
        dot += (double)(s->weights[at] * s->dw[at]);
    }
    return dot;
}
