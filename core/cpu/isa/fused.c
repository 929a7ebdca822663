/* fused.c - runs elementwise operations, alone or chained, over tensors.
 *
 * The elements of the result are walked through in order, tile by tile. An operand is read where it
 * lies when a whole tile of it is in one piece; broadcast and strided operands are laid out in a
 * tile of their own first. Results that only later operations of the chain want stay in registers,
 * or in tiles on the stack, in the first-level cache. A result may lie in the memory of an operand
 * that no later operation reads: every tile is read before it is written. */
#include <string.h>
#include "tile.h"
#include "../walk.h"

enum {
    TILES = FUSED_INPUTS + FUSED_OUTPUTS + FUSED_OPS + 1, /* of a frame: those, and the watch */
    CODE = 4 * FUSED_OPS + 1,
    TASK = 1 << 17, /* work of a task, in elements times weight */
    BASE_WEIGHT = 3 /* of reading and writing memory */
};

struct chain {
    const struct step *step;
    struct walk walk[FUSED_INPUTS];
    struct instruction code[CODE];
    int n_code, n_tiles, weight;
    char uniform[FUSED_INPUTS]; /* one number for each tile, wherever the tile is */
    char wanted[FUSED_INPUTS];  /* some instruction wants a whole tile of it */
    int64_t elements, task;
    int32_t *watch;
};

/* ---------------------------------------------------------------- from operations to code */

struct operation {
    int op, n_in;
    int64_t in[3]; /* < n_in of the step: an input; else the result of an operation */
};

struct builder {
    struct chain *chain;
    struct operation operations[FUSED_OPS];
    int n_operations;
    int tile[FUSED_OPS];   /* where a result lies in the frame, -1: in registers only */
    int last[FUSED_OPS];   /* the last operation that reads it */
    char taken[FUSED_OPS]; /* tiles of the frame behind inputs and outputs */
};

static void emit(struct chain *c, tile_fn run, int a, int b, int step)
{
    c->code[c->n_code++] = (struct instruction){ run, (uint16_t)a, (uint16_t)b, step };
}

static void read_operations(struct builder *b, const struct step *step)
{
    if (step->op != OP_FUSED) {
        b->n_operations = 1;
        b->operations[0] = (struct operation){ step->op, step->n_in, { 0, 1, 2 } };
        return;
    }
    b->n_operations = (int)step->ai[0];
    for (int i = 0; i < b->n_operations; i++) {
        const int64_t *ai = step->ai + 1 + 4 * i;
        struct operation *o = &b->operations[i];
        *o = (struct operation){ (int)ai[0], 0, { ai[1], ai[2], ai[3] } };
        while (o->n_in < 3 && o->in[o->n_in] >= 0) o->n_in++;
    }
}

/* The number of the operation that makes an output. */
static int made_by(const struct builder *b, const struct step *step, int output)
{
    return step->op == OP_FUSED ? (int)step->ai[1 + 4 * b->n_operations + output] : 0;
}

/* A result needs a tile unless the next operation alone reads it, and once. Outputs are tiles in
 * memory. */
static void find_tiles(struct builder *b)
{
    const struct step *step = b->chain->step;
    int reads[FUSED_OPS] = { 0 };
    for (int i = 0; i < b->n_operations; i++) {
        b->tile[i] = b->last[i] = -1;
        for (int k = 0; k < b->operations[i].n_in; k++) {
            int64_t made = b->operations[i].in[k] - step->n_in;
            if (made < 0) continue;
            reads[made]++;
            b->last[made] = i;
        }
    }
    for (int k = 0; k < step->n_out; k++)
        if (step->out[k].data) b->tile[made_by(b, step, k)] = step->n_in + k;
    for (int i = 0; i < b->n_operations; i++)
        if (b->tile[i] < 0 && (reads[i] > 1 || b->last[i] > i + 1)) b->tile[i] = TILES;
}

/* Gives result i a free tile; those that operation i was the last to read are free from now on. */
static void place(struct builder *b, int i)
{
    const int first = b->chain->step->n_in + b->chain->step->n_out;
    for (int k = 0; k < i; k++)
        if (b->tile[k] >= first && b->last[k] == i) b->taken[b->tile[k] - first] = 0;
    if (b->tile[i] != TILES) return;
    int free = 0;
    while (b->taken[free]) free++;
    b->taken[free] = 1;
    b->tile[i] = first + free;
    if (first + free >= b->chain->n_tiles) b->chain->n_tiles = first + free + 1;
}

static int tile_of(struct builder *b, int64_t operand)
{
    const int n_in = b->chain->step->n_in;
    if (operand >= n_in) return b->tile[operand - n_in];
    b->chain->wanted[operand] = 1;
    return (int)operand;
}

/* Operation i, with the result of the one before in registers if it is an operand. */
static void emit_operation(struct builder *b, int i)
{
    struct chain *c = b->chain;
    const struct operation *o = &b->operations[i];
    const struct tile_operation *t = &NAME(tile_operations)[o->op];
    int other[3] = { 0, 0, 0 }, n = 0, held = 0;
    while (held < o->n_in && (i == 0 || o->in[held] != c->step->n_in + i - 1)) held++;
    if (held == o->n_in) {
        held = 0;
        emit(c, NAME(tile_load), tile_of(b, o->in[0]), 0, i);
    }
    const int64_t beside = o->in[held == 0];
    const int one = o->n_in == 2 && beside < c->step->n_in && c->uniform[beside];
    if (one) other[0] = (int)beside;
    for (int k = 0; k < o->n_in && !one; k++)
        if (k != held) other[n++] = tile_of(b, o->in[k]);
    emit(c, one ? t->with_one[held] : t->with[held], other[0], other[1], i);
    c->weight += t->weight;
    if (c->watch) emit(c, NAME(tile_watch), TILES - 1, 0, i);
    place(b, i);
    if (b->tile[i] >= 0) emit(c, NAME(tile_store), b->tile[i], 0, i);
}

static void build(struct chain *c)
{
    struct builder b;
    b.chain = c;
    memset(b.taken, 0, sizeof b.taken);
    memset(c->wanted, 0, sizeof c->wanted);
    c->n_code = 0;
    c->n_tiles = c->step->n_in + c->step->n_out;
    c->weight = BASE_WEIGHT;
    read_operations(&b, c->step);
    find_tiles(&b);
    for (int i = 0; i < b.n_operations; i++) emit_operation(&b, i);
    emit(c, NAME(tile_end), 0, 0, 0);
}

/* ---------------------------------------------------------------- operands, tile by tile */

/* Where a task is in an operand: in a run of `left` elements at a distance of `stride`. */
struct source {
    const struct walk *walk;
    int point;                 /* the first number of a tile will do */
    const real *next, *filled; /* filled: what all of its tile is, or NULL */
    int64_t left, stride;
    int64_t index[MAX_DIMS + 1];
};

/* Operand k, at element e of the result. */
static void seek(struct source *s, const struct chain *c, int k, int64_t e)
{
    const struct walk *w = &c->walk[k];
    const int last = w->rank - 1;
    int64_t row = e / w->dim[last], column = e % w->dim[last];
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

/* The operand's next n elements: where they lie, or laid out in `tile`, whose end, if n is less
 * than a tile, repeats the last one. */
static const real *take(struct source *s, int64_t n, real *tile)
{
    const real *from = s->next;
    if (s->point) {
        skip(s, n);
        return from;
    }
    if (s->left >= n && s->stride == 0) {
        skip(s, n);
        if (s->filled != from) lay_out(tile, from, TILE, 0);
        s->filled = from;
        return tile;
    }
    if (s->left >= TILE && n == TILE && s->stride == 1) {
        skip(s, n);
        return from;
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

/* Elements first .. end-1 of the result. */
static void run_range(const struct chain *c, int64_t first, int64_t end)
{
    _Alignas(64) real tile[TILES][TILE];
    real *frame[TILES];
    struct source source[FUSED_INPUTS];
    const struct step *step = c->step;
    const int n_in = step->n_in, n_kept = n_in + step->n_out;
    const vec none = { 0 };
    for (int k = 0; k < n_in; k++) seek(&source[k], c, k, first);
    for (int k = n_kept; k < c->n_tiles; k++) frame[k] = tile[k];
    frame[TILES - 1] = (real *)(void *)c->watch;
    for (int64_t e = first, n; e < end; e += n) {
        n = min_int(TILE, end - e);
        for (int k = 0; k < n_in; k++) frame[k] = (real *)(uintptr_t)take(&source[k], n, tile[k]);
        for (int k = n_in; k < n_kept; k++)
            frame[k] = n == TILE ? (real *)step->out[k - n_in].data + e : tile[k];
        c->code[0].run(c->code, frame, none, none, none, none, none, none, none, none);
        for (int k = n_in; k < n_kept && n < TILE; k++)
            if (step->out[k - n_in].data)
                memcpy((real *)step->out[k - n_in].data + e, tile[k], (size_t)n * sizeof(real));
    }
}

static void run_task(void *arg, int64_t task, int worker)
{
    const struct chain *c = arg;
    (void)worker;
    run_range(c, task * c->task, min_int((task + 1) * c->task, c->elements));
}

static void run_chain(const struct step *step, struct run *run)
{
    struct chain c; /* large: only what is used gets a value */
    c.step = step;
    c.watch = step->op == OP_FUSED ? run->nonfinite : NULL;
    for (int k = 0; k < step->n_in; k++) {
        const struct tensor *t[2] = { &step->out[0], &step->in[k] };
        struct walk *w = &c.walk[k];
        walk_make(w, t, 2);
        c.uniform[k] =
            w->stride[1][w->rank - 1] == 0 && (w->rows == 1 || w->dim[w->rank - 1] % TILE == 0);
    }
    build(&c);
    c.elements = tensor_count(&step->out[0]);
    c.task = divide_up(TASK / c.weight, TILE) * TILE;
    pool_run(engine_pool(run->engine), divide_up(c.elements, c.task), run_task, &c);
}

void NAME(kernel_FUSED)(const struct step *step, struct run *run) { run_chain(step, run); }

#define ALONE(op)                                                                                  \
    void NAME(kernel_##op)(const struct step *step, struct run *run) { run_chain(step, run); }
/* clang-format off */
ALONE(NEG) ALONE(EXP) ALONE(LOG) ALONE(SQRT) ALONE(ABS) ALONE(SQUARE) ALONE(RECIP) ALONE(SIGMOID)
ALONE(LOG_SIGMOID) ALONE(SOFTPLUS) ALONE(TANH) ALONE(RELU) ALONE(EXPM1) ALONE(LOG1P) ALONE(SIN)
ALONE(COS) ALONE(FLOOR) ALONE(SIGN) ALONE(ADD) ALONE(SUB) ALONE(MUL) ALONE(DIV) ALONE(POW)
ALONE(MIN) ALONE(MAX) ALONE(LT) ALONE(LE) ALONE(GT) ALONE(GE) ALONE(EQ) ALONE(WHERE)
    /* clang-format on */
