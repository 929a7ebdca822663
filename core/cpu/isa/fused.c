/* fused.c - runs elementwise operations, alone or chained, over tensors.
 *
 * The elements are walked through in order, tile by tile. An operand is read where it lies as long
 * as a tile of it is in one piece; broadcast and strided operands are laid out in a tile of their
 * own first. A result may lie in the memory of an operand that no later operation reads: every tile
 * is read before it is written.
 *
 * Sums are added up on the way, in the order of reduce.c and to the same bits: the elements are cut
 * into the same parts and rows, and a tile begins where a row does. Sums over different axes want
 * different orders, so each kind has a pass of its own over all that the chain computes; the last
 * one also writes the other outputs. */
#include <string.h>
#include "fused.h"

enum { TASK = 1 << 17 }; /* work of a task, in elements times weight */

/* ---------------------------------------------------------------- operands, tile by tile */

/* Where a task is in an operand: in a run of `left` elements at a distance of `stride`. */
struct source {
    const struct walk *walk;
    int point;                 /* the first number of a tile will do */
    const real *next, *filled; /* filled: what all of its tile is, or NULL */
    int64_t left, stride;
    int64_t index[MAX_DIMS + 1];
};

/* Operand k, at an element of the chain's shape. */
static void seek(struct source *s, const struct chain *c, int k, int64_t element)
{
    const struct walk *w = &c->walk[k];
    const int last = w->rank - 1;
    int64_t row = element / w->dim[last], column = element % w->dim[last];
    s->walk = w;
    s->point = c->uniform[k] && !c->wanted[k];
    s->next = c->step->in[k].data;
    s->filled = NULL;
    s->stride = w->stride[1][last];
    for (int i = last - 1; i >= 0; row /= w->dim[i], i--) {
        s->index[i] = row % w->dim[i];
        s->next += s->index[i] * w->stride[1][i];
    }
    s->next += column * s->stride;
    s->left = w->dim[last] - column;
}

static void next_run(struct source *s)
{
    const struct walk *w = s->walk;
    const int last = w->rank - 1;
    s->left = w->dim[last];
    s->next -= s->left * s->stride;
    for (int i = last - 1; i >= 0; i--) {
        s->next += w->stride[1][i];
        if (++s->index[i] < w->dim[i]) return;
        s->index[i] = 0;
        s->next -= w->dim[i] * w->stride[1][i];
    }
}

ALWAYS_INLINE void skip(struct source *s, int64_t n)
{
    s->next += n * s->stride;
    s->left -= n;
    if (s->left == 0) next_run(s);
}

static void lay_out(real *to, const real *from, int64_t n, int64_t stride)
{
    if (stride == 1)
        memcpy(to, from, (size_t)n * sizeof *to);
    else if (stride == 0)
        for (int64_t i = 0; i < n; i++) to[i] = *from;
    else
        for (int64_t i = 0; i < n; i++) to[i] = from[i * stride];
}

/* A number that holds for some tiles: where it lies, or a tile full of it. */
static const real *fill(struct source *s, real *tile)
{
    if (s->point) return s->next;
    if (s->filled != s->next) lay_out(tile, s->next, TILE, 0);
    s->filled = s->next;
    return tile;
}

/* The next n elements, laid out; the rest of the tile repeats the last of them. */
static const real *take(struct source *s, int64_t n, real *tile)
{
    if (s->left >= n && s->stride == 0) {
        const real *full = fill(s, tile);
        skip(s, n);
        return full;
    }
    for (int64_t i = 0, m; i < n; i += m) {
        m = min_int(n - i, s->left);
        lay_out(tile + i, s->next, m, s->stride);
        skip(s, m);
    }
    lay_out(tile + n, tile + n - 1, TILE - n, 0);
    s->filled = NULL;
    return tile;
}

/* ---------------------------------------------------------------- running */

struct task {
    const struct chain *chain;
    const struct pass *pass;
    int64_t at; /* the element that the sources are at, -1: none */
    real *frame[FRAME_TILES];
    struct source source[FUSED_INPUTS];
    struct tile_sum sum[FUSED_OUTPUTS];
    _Alignas(64) real tile[FRAME_TILES][TILE];
};

static void run_tile(const struct task *t)
{
    const struct instruction *code = t->chain->code;
    const vec none = { 0 };
    code->run(code, t->frame, none, none, none, none, none, none, none, none);
}

/* Where output k goes from an element on: to memory only if `direct`. Sums of other passes add
 * nothing. */
static void point_output(struct task *t, int k, int64_t element, int64_t n, int direct)
{
    const struct chain *c = t->chain;
    real *to = t->tile[c->n_in + k];
    t->sum[k].n = t->pass->adds[k] ? n : 0;
    if (c->is_sum[k])
        to = (real *)(void *)&t->sum[k];
    else if (direct && t->pass->writes)
        to = (real *)c->step->out[k].data + element;
    t->frame[c->n_in + k] = to;
}

/* The n tiles from an element on, each operand of which is a number or lies in one piece. */
static void run_straight(struct task *t, int64_t element, int64_t n)
{
    const struct chain *c = t->chain;
    int moving[FUSED_INPUTS + FUSED_OUTPUTS], n_moving = 0;
    for (int k = 0; k < c->n_in; k++) {
        struct source *s = &t->source[k];
        const real *from = s->stride ? s->next : fill(s, t->tile[k]);
        t->frame[k] = (real *)(uintptr_t)from;
        if (s->stride) moving[n_moving++] = k;
        skip(s, n * TILE);
    }
    for (int k = 0; k < c->n_kept - c->n_in; k++) {
        point_output(t, k, element, TILE, c->step->out[k].data != NULL);
        if (!c->is_sum[k] && t->pass->writes && c->step->out[k].data)
            moving[n_moving++] = c->n_in + k;
    }
    for (; n > 0; n--) {
        run_tile(t);
        for (int i = 0; i < n_moving; i++) t->frame[moving[i]] += TILE;
    }
}

/* One tile of n <= TILE elements, whatever its operands are like. */
static void run_laid_out(struct task *t, int64_t element, int64_t n)
{
    const struct chain *c = t->chain;
    for (int k = 0; k < c->n_in; k++)
        t->frame[k] = (real *)(uintptr_t)take(&t->source[k], n, t->tile[k]);
    for (int k = 0; k < c->n_kept - c->n_in; k++) point_output(t, k, element, n, 0);
    run_tile(t);
    for (int k = 0; k < c->n_kept - c->n_in && t->pass->writes; k++)
        if (!c->is_sum[k] && c->step->out[k].data)
            memcpy((real *)c->step->out[k].data + element, t->tile[c->n_in + k],
                   (size_t)n * sizeof(real));
}

static void run_range(struct task *t, int64_t first, int64_t end)
{
    const struct chain *c = t->chain;
    for (int k = 0; k < c->n_in && t->at != first; k++) seek(&t->source[k], c, k, first);
    t->at = end;
    while (first < end) {
        int64_t n = end - first;
        for (int k = 0; k < c->n_in; k++) {
            const struct source *s = &t->source[k];
            n = min_int(n, s->stride == 0 || s->stride == 1 ? s->left : 0);
        }
        if (n >= TILE) {
            n = n / TILE * TILE;
            run_straight(t, first, n / TILE);
        } else {
            n = min_int(TILE, end - first);
            run_laid_out(t, first, n);
        }
        first += n;
    }
}

/* A part of the elements under a kept index, row by row, and their sums. */
static void run_part(struct task *t, int64_t part, int64_t kept)
{
    const struct step *step = t->chain->step;
    const struct pass *p = t->pass;
    double *partial = step->scratch;
    struct axes over;
    int64_t row, first = NAME(reduce_part)(&p->cut, part, kept, &over, &row);
    for (int k = 0; k < step->n_out; k++) memset(t->sum[k].lane, 0, sizeof t->sum[k].lane);
    for (int64_t i = 0; i < over.count; i++) {
        int64_t element = first + axes_offset(&over, i);
        run_range(t, element, element + row);
    }
    for (int k = 0; k < step->n_out; k++) {
        if (!p->adds[k]) continue;
        double sum = NAME(reduce_lanes)(t->sum[k].lane);
        if (p->cut.parts > 1)
            partial[p->partial[k] + part * p->cut.kept.count + kept] = sum;
        else if (step->out[k].data)
            NAME(reduce_store)(&step->out[k], kept, sum);
    }
}

struct job {
    const struct chain *chain;
    const struct pass *pass;
};

static void run_task(void *arg, int64_t number, int worker)
{
    const struct job *job = arg;
    const struct chain *c = job->chain;
    const struct pass *p = job->pass;
    struct task t;
    const int64_t first = number * p->per_task, end = min_int(first + p->per_task, p->units);
    (void)worker;
    t.chain = c;
    t.pass = p;
    t.at = -1;
    for (int k = c->n_kept; k < c->n_tiles; k++) t.frame[k] = t.tile[k];
    t.frame[FRAME_WATCH] = (real *)(void *)c->watch;
    if (p->cut.parts == 0)
        run_range(&t, first, end);
    else
        for (int64_t unit = first; unit < end; unit++)
            run_part(&t, unit / p->cut.kept.count, unit % p->cut.kept.count);
}

/* ---------------------------------------------------------------- steps */

/* The shape that all operands of a fused step broadcast to. Sums do not have it. */
static void join_inputs(const struct step *step, struct tensor *shape)
{
    *shape = step->in[0];
    for (int k = 1; k < step->n_in; k++)
        if (step->in[k].rank > shape->rank) *shape = step->in[k];
    for (int k = 0; k < step->n_in; k++)
        for (int i = 0; i < step->in[k].rank; i++) {
            int own = i == 0 ? 0 : i + shape->rank - step->in[k].rank;
            shape->dim[own] = max_int(shape->dim[own], step->in[k].dim[i]);
        }
}

static void find_shape(struct chain *c)
{
    struct tensor *shape = &c->shape;
    int64_t stride = 1;
    if (c->step->op == OP_FUSED)
        join_inputs(c->step, shape);
    else
        *shape = c->step->out[0];
    for (int i = shape->rank - 1; i >= 0; stride *= shape->dim[i], i--) shape->stride[i] = stride;
    c->elements = stride;
}

static int same_dims(const struct tensor *a, const struct tensor *b)
{
    return a->rank == b->rank && !memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim);
}

/* The pass that adds up sums of that shape; a new one if there is none yet. */
static struct pass *pass_of(struct chain *c, const struct tensor *out)
{
    for (int i = 0; i < c->n_passes; i++) {
        int first = 0;
        while (!c->pass[i].adds[first]) first++;
        if (same_dims(out, &c->step->out[first])) return &c->pass[i];
    }
    struct pass *p = &c->pass[c->n_passes++];
    memset(p->adds, 0, sizeof p->adds);
    NAME(reduce_cut)(&p->cut, &c->shape, out);
    return p;
}

/* Gives the sums of a pass that are cut their room in the scratch. */
static void find_partials(struct chain *c, struct pass *p)
{
    for (int k = 0; k < c->step->n_out; k++) {
        if (!p->adds[k] || p->cut.parts <= 1) continue;
        p->partial[k] = c->n_partials;
        c->n_partials += p->cut.parts * p->cut.kept.count;
    }
}

/* One pass for each kind of sums, the one with the longest rows last; one without where there are
 * none. */
static void find_passes(struct chain *c)
{
    const struct step *step = c->step;
    c->n_passes = 0;
    for (int k = 0; k < step->n_out; k++) {
        const int64_t *ai = step->ai;
        c->is_sum[k] = step->op == OP_FUSED && ai[1 + 4 * ai[1 + 4 * ai[0] + k]] == OP_SUM;
        if (c->is_sum[k]) pass_of(c, &step->out[k])->adds[k] = 1;
    }
    if (c->n_passes == 0) {
        memset(c->pass[0].adds, 0, sizeof c->pass[0].adds);
        c->pass[0].cut.parts = 0;
        c->n_passes = 1;
    }
    for (int i = 0; i + 1 < c->n_passes; i++) {
        struct pass *p = &c->pass[i], swap = *p;
        if (p[0].cut.row <= p[1].cut.row) continue;
        p[0] = p[1];
        p[1] = swap;
    }
    c->n_partials = 0;
    for (int i = 0; i < c->n_passes; i++) {
        c->pass[i].writes = i + 1 == c->n_passes;
        find_partials(c, &c->pass[i]);
    }
}

/* A tile that begins within a run of an input at a multiple of its size does not leave it. All do
 * where runs are multiples of tiles: rows of sums and their parts begin at multiples too, unless
 * they are shorter than a run, which they divide then. */
static void find_walks(struct chain *c)
{
    for (int k = 0; k < c->n_in; k++) {
        const struct tensor *t[2] = { &c->shape, &c->step->in[k] };
        struct walk *w = &c->walk[k];
        walk_make(w, t, 2);
        c->uniform[k] =
            w->stride[1][w->rank - 1] == 0 && (w->rows == 1 || w->dim[w->rank - 1] % TILE == 0);
    }
}

static void find_tasks(struct chain *c)
{
    for (int i = 0; i < c->n_passes; i++) {
        struct pass *p = &c->pass[i];
        p->units = p->cut.parts ? p->cut.parts * p->cut.kept.count : c->elements;
        p->per_task = p->cut.parts ? max_int(1, TASK / c->weight / divide_up(c->elements, p->units))
                                   : divide_up(TASK / c->weight, TILE) * TILE;
    }
}

/* Adds the parts of the sums up, in order. */
static void add_parts(const struct chain *c, const struct pass *p)
{
    const int64_t n = p->cut.kept.count;
    for (int k = 0; k < c->step->n_out && p->cut.parts > 1; k++) {
        if (!p->adds[k] || !c->step->out[k].data) continue;
        const double *partial = (const double *)c->step->scratch + p->partial[k];
        for (int64_t i = 0; i < n; i++) {
            double sum = partial[i];
            for (int64_t part = 1; part < p->cut.parts; part++) sum += partial[part * n + i];
            NAME(reduce_store)(&c->step->out[k], i, sum);
        }
    }
}

static void run_chain(const struct step *step, struct run *run)
{
    struct chain c; /* large: only what is used gets a value */
    c.step = step;
    c.watch = step->op == OP_FUSED ? run->nonfinite : NULL;
    c.n_in = step->n_in;
    c.n_kept = step->n_in + step->n_out;
    find_shape(&c);
    find_passes(&c);
    find_walks(&c);
    NAME(fused_code)(&c);
    find_tasks(&c);
    for (int i = 0; i < c.n_passes; i++) {
        struct pass *p = &c.pass[i];
        struct job job = { &c, p };
        pool_run(engine_pool(run->engine), divide_up(p->units, p->per_task), run_task, &job);
        add_parts(&c, p);
    }
}

void NAME(kernel_FUSED)(const struct step *step, struct run *run) { run_chain(step, run); }

size_t NAME(scratch_FUSED)(const struct step *step, int threads)
{
    struct chain c;
    (void)threads;
    c.step = step;
    find_shape(&c);
    find_passes(&c);
    return (size_t)c.n_partials * sizeof(double);
}

#define ALONE(op)                                                                                  \
    void NAME(kernel_##op)(const struct step *step, struct run *run) { run_chain(step, run); }
/* clang-format off */
ALONE(NEG) ALONE(EXP) ALONE(LOG) ALONE(SQRT) ALONE(ABS) ALONE(SQUARE) ALONE(RECIP) ALONE(SIGMOID)
ALONE(LOG_SIGMOID) ALONE(SOFTPLUS) ALONE(TANH) ALONE(RELU) ALONE(EXPM1) ALONE(LOG1P) ALONE(SIN)
ALONE(COS) ALONE(FLOOR) ALONE(SIGN) ALONE(ADD) ALONE(SUB) ALONE(MUL) ALONE(DIV) ALONE(POW)
ALONE(MIN) ALONE(MAX) ALONE(LT) ALONE(LE) ALONE(GT) ALONE(GE) ALONE(EQ) ALONE(WHERE)
    /* clang-format on */
