/* fused_code.c - from the operations of a fused step to instructions on tiles. A result that only
 * the next operation reads stays in the registers; the others get a tile each, in memory if they
 * are outputs, else one that no later operation reads any more. */
#include <assert.h>
#include <string.h>
#include "fused.h"

enum { BASE_WEIGHT = 3 /* of reading and writing memory */, NEEDED = FRAME_TILES };

struct operation {
    int op, n_in;
    int64_t in[3]; /* an input, or n_in of the step and the number of an operation */
    /* In a sum with a product, in[0] + f(in[1]) in[2] or the difference. */
    const struct tile_product *product;
    int absorbed; /* it is computed as part of one */
};

struct builder {
    struct chain *chain;
    struct operation operation[FUSED_OPS];
    int n_operations;
    int64_t held;          /* the operand in the registers, -1: none */
    int tile[FUSED_OPS];   /* of a result in the frame; NEEDED: not given one yet; -1: none */
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
        b->operation[0] = (struct operation){ step->op, step->n_in, { 0, 1, 2 }, NULL, 0 };
        return;
    }
    b->n_operations = (int)step->ai[0];
    for (int i = 0; i < b->n_operations; i++) {
        const int64_t *ai = step->ai + 1 + 4 * i;
        struct operation *o = &b->operation[i];
        *o = (struct operation){ (int)ai[0], 0, { ai[1], ai[2], ai[3] }, NULL, 0 };
        while (o->n_in < 3 && o->in[o->n_in] >= 0) o->n_in++;
    }
}

/* The number of the operation that makes an output. */
static int made_by(const struct builder *b, int output)
{
    const struct step *step = b->chain->step;
    return step->op == OP_FUSED ? (int)step->ai[1 + 4 * b->n_operations + output] : 0;
}

static void count_reads(const struct builder *b, int *reads, int *last)
{
    memset(reads, 0, FUSED_OPS * sizeof *reads);
    for (int i = 0; i < b->n_operations; i++) last[i] = -1;
    for (int i = 0; i < b->n_operations; i++) {
        const struct operation *o = &b->operation[i];
        for (int k = 0; k < o->n_in && !o->absorbed; k++) {
            int64_t made = o->in[k] - b->chain->n_in;
            if (made < 0 || (o->product && k == 1 && o->in[1] == o->in[0])) continue;
            reads[made]++;
            last[made] = i;
        }
    }
}

/* ---------------------------------------------------------------- sums with products */

/* Whether a result goes nowhere but to the next operation. */
static int is_inner(const struct builder *b, const int *reads, int i)
{
    if (i < 0 || reads[i] != 1) return 0;
    for (int k = 0; k < b->chain->step->n_out; k++)
        if (made_by(b, k) == i) return 0;
    return 1;
}

static int is_uniform(const struct builder *b, int64_t operand)
{
    return operand < b->chain->n_in && b->chain->uniform[operand];
}

/* What the f of a product may be. */
static int side_of(int op)
{
    return op == OP_ABS ? SIDE_ABS : op == OP_SIGN ? SIDE_SIGN : SIDE_PLAIN;
}

/* Makes a sum or difference one with the product before it, and with what a factor of that is made
 * of, if nothing else reads them and the term is at hand, in the registers: it would have to make
 * room for the product. */
static void absorb(struct builder *b, const int *reads, int i)
{
    struct operation *o = &b->operation[i];
    const int64_t n_in = b->chain->n_in, made = n_in + i - 1;
    const int second = o->in[1] == made;
    if (i < 1 || b->operation[i - 1].op != OP_MUL || !is_inner(b, reads, i - 1)) return;
    if (o->op != OP_ADD && (o->op != OP_SUB || !second)) return;
    if (o->in[!second] == made || o->in[second] != made) return;

    const int64_t term = o->in[!second], *factor = b->operation[i - 1].in;
    int first = i - 1, side = SIDE_PLAIN, own = factor[1] == term || is_uniform(b, factor[0]);
    for (int k = 0; k < 2 && is_inner(b, reads, i - 2); k++) {
        if (factor[k] != made - 1 || side_of(b->operation[i - 2].op) == SIDE_PLAIN) continue;
        side = side_of(b->operation[first = i - 2].op);
        own = k;
    }
    const int64_t x = first < i - 1 ? b->operation[first].in[0] : factor[own], y = factor[!own];
    const int64_t held = n_in + first - 1;
    if (term >= n_in ? term != held : x == held || y == held || is_uniform(b, term)) return;
    for (int k = first; k < i; k++) b->operation[k].absorbed = 1;
    o->product = &NAME(tile_products)[side][o->op == OP_SUB];
    o->n_in = 3;
    o->in[0] = term;
    o->in[1] = x;
    o->in[2] = y;
}

static void absorb_products(struct builder *b)
{
    int reads[FUSED_OPS], last[FUSED_OPS];
    count_reads(b, reads, last);
    for (int i = 0; i < b->n_operations; i++) absorb(b, reads, i);
}

/* ---------------------------------------------------------------- tiles */

static void find_tiles(struct builder *b)
{
    const struct chain *c = b->chain;
    int reads[FUSED_OPS];
    count_reads(b, reads, b->last);
    for (int i = 0; i < b->n_operations; i++) b->tile[i] = -1;
    for (int k = 0; k < c->step->n_out; k++)
        if (c->step->out[k].data) b->tile[made_by(b, k)] = c->n_in + k;
    for (int i = 0; i < b->n_operations; i++) {
        int next = i + 1;
        while (next < b->n_operations && b->operation[next].absorbed) next++;
        if (b->tile[i] < 0 && (reads[i] > 1 || b->last[i] > next)) b->tile[i] = NEEDED;
    }
}

/* Gives result i a tile if it needs one. Those that operation i was the last to read are free. */
static void place(struct builder *b, int i)
{
    const int first = b->chain->n_kept;
    for (int k = 0; k < i; k++)
        if (b->tile[k] >= first && b->last[k] == i) b->taken[b->tile[k] - first] = 0;
    if (b->tile[i] != NEEDED) return;
    int free = 0;
    while (b->taken[free]) free++;
    b->taken[free] = 1;
    b->tile[i] = first + free;
    if (first + free >= b->chain->n_tiles) b->chain->n_tiles = first + free + 1;
}

static int tile_of(struct builder *b, int64_t operand)
{
    const int n_in = b->chain->n_in;
    if (operand >= n_in) {
        assert(b->tile[operand - n_in] >= 0);
        return b->tile[operand - n_in];
    }
    b->chain->wanted[operand] = 1;
    return (int)operand;
}

static void load(struct builder *b, int64_t operand, int i)
{
    emit(b->chain, NAME(tile_load), tile_of(b, operand), 0, i);
    b->held = operand;
}

/* Puts one of the operands into the registers, unless one is there, and says which. */
static int hold(struct builder *b, int i)
{
    const struct operation *o = &b->operation[i];
    for (int k = 0; k < o->n_in; k++)
        if (o->in[k] == b->held) return k;
    const int k = o->n_in == 2 && is_uniform(b, o->in[0]) && !is_uniform(b, o->in[1]);
    load(b, o->in[k], i); /* numbers are better left in memory */
    return k;
}

/* A sum with a product. */
static void emit_product(struct builder *b, int i)
{
    struct chain *c = b->chain;
    const struct operation *o = &b->operation[i];
    const int own = o->in[1] == o->in[0], one = is_uniform(b, o->in[2]);
    if (b->held != o->in[0]) load(b, o->in[0], i);
    const int factor = own ? 0 : tile_of(b, o->in[1]);
    const tile_fn *run = own ? o->product->with_own : o->product->with_tile;
    emit(c, run[one], factor, one ? (int)o->in[2] : tile_of(b, o->in[2]), i);
    c->weight += 2;
}

static void emit_plain(struct builder *b, int i)
{
    struct chain *c = b->chain;
    const struct operation *o = &b->operation[i];
    const struct tile_operation *t = &NAME(tile_operations)[o->op];
    int other[3] = { 0, 0, 0 }, n = 0, held = hold(b, i);
    const int one = o->n_in == 2 && is_uniform(b, o->in[held == 0]);
    if (one) other[0] = (int)o->in[held == 0];
    for (int k = 0; k < o->n_in && !one; k++)
        if (k != held) other[n++] = tile_of(b, o->in[k]);
    emit(c, one ? t->with_one[held] : t->with[held], other[0], other[1], i);
    c->weight += t->weight;
}

static void emit_operation(struct builder *b, int i)
{
    struct chain *c = b->chain;
    const struct operation *o = &b->operation[i];
    if (o->absorbed) return;
    if (o->op == OP_SUM) {
        hold(b, i);
        if (b->tile[i] >= 0) emit(c, NAME(tile_sum), b->tile[i], 0, i);
        c->weight++;
        place(b, i);
        return;
    }
    if (o->product)
        emit_product(b, i);
    else
        emit_plain(b, i);
    b->held = c->n_in + i;
    if (c->watch) emit(c, NAME(tile_watch), FRAME_WATCH, 0, i);
    place(b, i);
    if (b->tile[i] >= 0) emit(c, NAME(tile_store), b->tile[i], 0, i);
}

void NAME(fused_code)(struct chain *c)
{
    struct builder b;
    b.chain = c;
    b.held = -1;
    memset(b.taken, 0, sizeof b.taken);
    memset(c->wanted, 0, sizeof c->wanted);
    c->n_code = 0;
    c->n_tiles = c->n_kept;
    c->weight = BASE_WEIGHT;
    read_operations(&b, c->step);
    if (!c->watch) absorb_products(&b);
    find_tiles(&b);
    for (int i = 0; i < b.n_operations; i++) emit_operation(&b, i);
    emit(c, NAME(tile_end), 0, 0, 0);
}
