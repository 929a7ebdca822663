/* fused.c - runs elementwise operations, alone or chained, over tensors.
 *
 * The elements are walked through in order, tile by tile. An operand is read where it lies as long
 * as a tile of it is in one piece; broadcast and strided operands are laid out in a tile of their
 * own first. A result may lie in the memory of an operand that no later operation reads: every tile
 * is read before it is written.
 *
 * Sums over samples are added up on the way, in the order of reduce.c and to the same bits: a
 * sample is cut into the same parts, and a tile begins where a part does. */
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

/* Where output k is written from an element on. */
static real *output(const struct task *t, int k, int64_t element)
{
    const struct chain *c = t->chain;
    if (c->is_sum[k]) return (real *)(void *)&t->sum[k];
    return c->step->out[k].data ? (real *)c->step->out[k].data + element : NULL;
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
        t->frame[c->n_in + k] = output(t, k, element);
        if (!c->is_sum[k] && t->frame[c->n_in + k]) moving[n_moving++] = c->n_in + k;
        t->sum[k].n = TILE;
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
    for (int k = 0; k < c->n_kept - c->n_in; k++) {
        t->frame[c->n_in + k] = c->is_sum[k] ? output(t, k, element) : t->tile[c->n_in + k];
        t->sum[k].n = n;
    }
    run_tile(t);
    for (int k = 0; k < c->n_kept - c->n_in; k++)
        if (!c->is_sum[k] && c->step->out[k].data)
            memcpy(output(t, k, element), t->tile[c->n_in + k], (size_t)n * sizeof(real));
}

static void run_range(struct task *t, int64_t first, int64_t end)
{
    const struct chain *c = t->chain;
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

/* The part'th part of a sample, and its sums. */
static void run_part(struct task *t, int64_t sample, int64_t part)
{
    const struct chain *c = t->chain;
    int64_t first = c->unit * part / c->parts, end = c->unit * (part + 1) / c->parts;
    for (int k = 0; k < c->step->n_out; k++) memset(t->sum[k].lane, 0, sizeof t->sum[k].lane);
    run_range(t, sample * c->unit + first, sample * c->unit + end);
    double *partial = c->step->scratch;
    for (int k = 0, n = 0; k < c->step->n_out; k++) {
        if (!c->is_sum[k]) continue;
        double sum = NAME(reduce_lanes)(t->sum[k].lane);
        if (c->parts > 1)
            partial[(part * c->n_sums + n) * c->samples + sample] = sum;
        else if (c->step->out[k].data)
            NAME(reduce_store)(&c->step->out[k], sample, sum);
        n++;
    }
}

static void start(struct task *t, const struct chain *c, int64_t element)
{
    t->chain = c;
    for (int k = 0; k < c->n_in; k++) seek(&t->source[k], c, k, element);
    for (int k = c->n_kept; k < c->n_tiles; k++) t->frame[k] = t->tile[k];
    t->frame[FRAME_WATCH] = (real *)(void *)c->watch;
}

static void run_task(void *arg, int64_t number, int worker)
{
    const struct chain *c = arg;
    struct task t;
    int64_t first = number * c->per_task;
    (void)worker;
    if (!c->n_sums) {
        start(&t, c, first);
        run_range(&t, first, min_int(first + c->per_task, c->elements));
        return;
    }
    const int64_t end = min_int(first + c->per_task, c->samples * c->parts);
    start(&t, c, first / c->parts * c->unit + c->unit * (first % c->parts) / c->parts);
    for (; first < end; first++) run_part(&t, first / c->parts, first % c->parts);
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
    c->samples = shape->dim[0];
    c->unit = c->elements / c->samples;
}

static void find_sums(struct chain *c)
{
    const struct step *step = c->step;
    c->n_sums = 0;
    for (int k = 0; k < step->n_out; k++) {
        c->is_sum[k] = 0;
        if (step->op != OP_FUSED) continue;
        int64_t maker = step->ai[1 + 4 * step->ai[0] + k];
        c->n_sums += c->is_sum[k] = step->ai[1 + 4 * maker] == OP_SUM;
    }
    c->parts = c->n_sums ? NAME(reduce_row_parts)(c->samples, c->unit) : 1;
}

static void find_walks(struct chain *c)
{
    for (int k = 0; k < c->n_in; k++) {
        const struct tensor *t[2] = { &c->shape, &c->step->in[k] };
        struct walk *w = &c->walk[k];
        walk_make(w, t, 2);
        const int64_t run = w->dim[w->rank - 1];
        /* tiles begin at multiples of their size, but for those of parts of samples */
        c->uniform[k] =
            w->stride[1][w->rank - 1] == 0 && (w->rows == 1 || (run % TILE == 0 && c->parts == 1));
    }
}

/* Adds the parts of the sums up, in order. */
static void add_parts(const struct chain *c)
{
    const double *partial = c->step->scratch;
    for (int k = 0, n = 0; k < c->step->n_out && c->parts > 1; k++) {
        if (!c->is_sum[k]) continue;
        for (int64_t sample = 0; sample < c->samples && c->step->out[k].data; sample++) {
            double sum = partial[n * c->samples + sample];
            for (int64_t part = 1; part < c->parts; part++)
                sum += partial[(part * c->n_sums + n) * c->samples + sample];
            NAME(reduce_store)(&c->step->out[k], sample, sum);
        }
        n++;
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
    find_sums(&c);
    find_walks(&c);
    NAME(fused_code)(&c);
    int64_t n = c.elements, size = TILE;
    if (c.n_sums) {
        n = c.samples * c.parts;
        size = divide_up(c.unit, c.parts);
    }
    c.per_task =
        c.n_sums ? max_int(1, TASK / c.weight / size) : divide_up(TASK / c.weight, TILE) * TILE;
    pool_run(engine_pool(run->engine), divide_up(n, c.per_task), run_task, &c);
    add_parts(&c);
}

void NAME(kernel_FUSED)(const struct step *step, struct run *run) { run_chain(step, run); }

size_t NAME(scratch_FUSED)(const struct step *step, int threads)
{
    struct chain c;
    (void)threads;
    c.step = step;
    find_shape(&c);
    find_sums(&c);
    return c.parts > 1 ? (size_t)(c.parts * c.n_sums * c.samples) * sizeof(double) : 0;
}

#define ALONE(op)                                                                                  \
    void NAME(kernel_##op)(const struct step *step, struct run *run) { run_chain(step, run); }
/* clang-format off */
ALONE(NEG) ALONE(EXP) ALONE(LOG) ALONE(SQRT) ALONE(ABS) ALONE(SQUARE) ALONE(RECIP) ALONE(SIGMOID)
ALONE(LOG_SIGMOID) ALONE(SOFTPLUS) ALONE(TANH) ALONE(RELU) ALONE(EXPM1) ALONE(LOG1P) ALONE(SIN)
ALONE(COS) ALONE(FLOOR) ALONE(SIGN) ALONE(ADD) ALONE(SUB) ALONE(MUL) ALONE(DIV) ALONE(POW)
ALONE(MIN) ALONE(MAX) ALONE(LT) ALONE(LE) ALONE(GT) ALONE(GE) ALONE(EQ) ALONE(WHERE)
    /* clang-format on */
