/* chain_plan.c - how a chain is cut: stages into segments, pixels into tiles, tiles into units.
 * Depends on shapes alone, the same for CHAIN and CHAIN_VJP, because hidden buffers go from one to
 * the other. */
#include <assert.h>
#include <string.h>
#include "chain.h"

#define TILE_BYTES (512 * 1024) /* of the largest operand: about half a second-level cache */

void NAME(chain_begin)(struct chain *c, const struct tensor *x)
{
    memset(c, 0, sizeof *c);
    c->images = x->dim[0];
    c->channels = x->rank > 1 ? x->dim[1] : 1;
    c->width = x->rank > 2 ? x->dim[x->rank - 1] : 1;
    c->height = 1;
    for (int i = 2; i < x->rank - 1; i++) c->height *= x->dim[i];
    c->plane = c->height * c->width;
    c->pixels = c->images * c->plane;
}

struct chain_stage *NAME(chain_add)(struct chain *c, const struct tensor *w, int64_t out,
                                    int64_t kh, int64_t kw, int edge)
{
    assert(c->n_stages < CHAIN_STAGES);
    const int64_t in = c->n_stages ? c->stage[c->n_stages - 1].out : c->channels;
    struct chain_stage *s = &c->stage[c->n_stages++];
    s->w = w;
    s->in = in;
    s->out = out;
    s->kh = kh;
    s->kw = kw;
    s->taps = kh * kw;
    s->edge = edge;
    return s;
}

/* A segment ends behind a stage that scatters, and before one that has to gather. */
static void cut_segments(struct chain *c)
{
    int i = 0;
    while (i < c->n_stages) {
        int end = i + 1;
        c->first[c->n_segments++] = i;
        while (end < c->n_stages && c->stage[end - 1].kind != STAGE_SCATTER) {
            c->stage[end].kind = c->stage[end].taps > 1 ? STAGE_SCATTER : STAGE_POINT;
            end++;
        }
        struct chain_stage *s = &c->stage[i];
        s->kind = s->taps == 1                     ? STAGE_POINT
                  : end == i + 1 && s->out < s->in ? STAGE_SCATTER
                                                   : STAGE_GATHER;
        i = end;
    }
    c->first[c->n_segments] = c->n_stages;
}

/* Which operand of dW is transposed, and with it the matrix that weights are kept as: the one that
 * costs less, the transposition itself and the columns of the last vector that are computed for
 * nothing taken together; where that is within 2%, the one with less padding. */
static int is_turned(const struct chain_stage *s)
{
    const int64_t plain = s->rows * divide_up(s->depth, LANES) + s->depth / 2;
    const int64_t turned = s->depth * divide_up(s->rows, LANES) + s->rows / 2;
    if (max_int(plain - turned, turned - plain) * 50 < plain)
        return panels_words(s->depth, s->rows) < panels_words(s->rows, s->depth);
    return turned < plain;
}

void NAME(chain_end)(struct chain *c)
{
    int64_t largest = 1;
    cut_segments(c);
    NAME(chain_find_borders)(c);
    for (int i = 0; i < c->n_stages; i++) {
        struct chain_stage *s = &c->stage[i];
        s->rows = s->kind == STAGE_SCATTER ? s->out * s->taps : s->out;
        s->depth = s->kind == STAGE_GATHER ? (s->in + s->edge) * s->taps : s->in;
        largest = max_int(largest, max_int(s->rows, s->depth));
        s->packing = (struct packing){ .out = s->out,
                                       .in = s->in,
                                       .taps = s->taps,
                                       .edge = s->edge,
                                       .scatter = s->kind == STAGE_SCATTER,
                                       .turned = is_turned(s),
                                       .panel = PANEL };
        packing_complete(&s->packing);
        s->bordered = NAME(chain_has_borders)(c, i);
        if (s->bordered && s->kind == STAGE_GATHER) s->depth -= s->taps;
    }
    c->tile = TILE_MAX;
    while (c->tile > PANEL && (c->tile / 2 >= c->pixels ||
                               c->tile * largest * (int64_t)sizeof(real) > TILE_BYTES * PER_WORD))
        c->tile /= 2;
    c->tiles = divide_up(c->pixels, c->tile);
}

void NAME(chain_of_step)(struct chain *c, const struct step *step)
{
    NAME(chain_begin)(c, &step->in[0]);
    for (int i = 0; i < step->ai[0]; i++) {
        const struct tensor *in = &step->in[1 + 3 * i];
        const int64_t *ai = &step->ai[1 + 3 * i];
        struct chain_stage *s = NAME(chain_add)(c, &in[0], in[0].dim[1], ai[0], ai[0], ai[1] != 0);
        s->b = in[1].data ? &in[1] : NULL;
        s->logs = in[2].data ? &in[2] : NULL;
        s->act = (int)ai[2];
        s->logscale = step->ad[i];
    }
    NAME(chain_end)(c);
}

/* Not more units than `most`. They are large, because what is done at their ends costs time, but
 * small images make some work for several threads, too. */
struct chain_units NAME(chain_units)(const struct chain *c, int64_t reach, int64_t most)
{
    struct chain_units u = { .tiles = c->tiles, .reach = reach };
    const int64_t pixels = max_int(128, min_int(512, c->pixels / 4));
    u.n = max_int(1, min_int(most, c->tiles / divide_up(pixels, c->tile)));
    u.pixels = divide_up(c->tiles, u.n) * c->tile;
    u.margin = divide_up(reach, LANES) * LANES + LANES;
    u.pitch = u.pixels + 2 * u.margin;
    return u;
}

int64_t NAME(chain_hidden)(const struct step *step, int i)
{
    struct chain c;
    NAME(chain_of_step)(&c, step);
    const int64_t width = c.stage[i].out;
    return chain_is_planar(&c, i) ? c.pixels * width : c.tiles * chain_plain_size(&c, width);
}

void NAME(chain_packing)(const struct step *step, int stage, struct packing *packing)
{
    struct chain c;
    NAME(chain_of_step)(&c, step);
    *packing = c.stage[stage].packing;
}
