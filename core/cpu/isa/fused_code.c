/* fused_code.c - from the operations of a fused step to instructions on tiles. A result that only
 * the next operation reads stays in the registers; the others get a tile each, in memory if they
 * are outputs, else one that no later operation reads any more. */
#include <string.h>
#include "fused.h"

enum { BASE_WEIGHT = 3 /* of reading and writing memory */, NEEDED = FRAME_TILES };

struct operation {
    int op, n_in;
    int64_t in[3]; /* an input, or n_in of the step and the number of an operation */
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
        b->operation[0] = (struct operation){ step->op, step->n_in, { 0, 1, 2 } };
        return;
    }
    b->n_operations = (int)step->ai[0];
    for (int i = 0; i < b->n_operations; i++) {
        const int64_t *ai = step->ai + 1 + 4 * i;
        struct operation *o = &b->operation[i];
        *o = (struct operation){ (int)ai[0], 0, { ai[1], ai[2], ai[3] } };
        while (o->n_in < 3 && o->in[o->n_in] >= 0) o->n_in++;
    }
}

/* The number of the operation that makes an output. */
static int made_by(const struct builder *b, int output)
{
    const struct step *step = b->chain->step;
    return step->op == OP_FUSED ? (int)step->ai[1 + 4 * b->n_operations + output] : 0;
}

static void find_tiles(struct builder *b)
{
    const struct chain *c = b->chain;
    int reads[FUSED_OPS] = { 0 };
    for (int i = 0; i < b->n_operations; i++) {
        b->tile[i] = b->last[i] = -1;
        for (int k = 0; k < b->operation[i].n_in; k++) {
            int64_t made = b->operation[i].in[k] - c->n_in;
            if (made < 0) continue;
            reads[made]++;
            b->last[made] = i;
        }
    }
    for (int k = 0; k < c->step->n_out; k++)
        if (c->step->out[k].data) b->tile[made_by(b, k)] = c->n_in + k;
    for (int i = 0; i < b->n_operations; i++)
        if (b->tile[i] < 0 && (reads[i] > 1 || b->last[i] > i + 1)) b->tile[i] = NEEDED;
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
    if (operand >= n_in) return b->tile[operand - n_in];
    b->chain->wanted[operand] = 1;
    return (int)operand;
}

/* Puts one of the operands into the registers, unless one is there, and says which. */
static int hold(struct builder *b, int i)
{
    const struct operation *o = &b->operation[i];
    for (int k = 0; k < o->n_in; k++)
        if (o->in[k] == b->held) return k;
    const int n_in = b->chain->n_in;
    const char *uniform = b->chain->uniform; /* better left in memory */
    const int k = o->n_in == 2 && o->in[0] < n_in && uniform[o->in[0]] &&
                  !(o->in[1] < n_in && uniform[o->in[1]]);
    emit(b->chain, NAME(tile_load), tile_of(b, o->in[k]), 0, i);
    b->held = o->in[k];
    return k;
}

static void emit_operation(struct builder *b, int i)
{
    struct chain *c = b->chain;
    const struct operation *o = &b->operation[i];
    const struct tile_operation *t = &NAME(tile_operations)[o->op];
    int other[3] = { 0, 0, 0 }, n = 0, held = hold(b, i);
    if (o->op == OP_SUM) {
        if (b->tile[i] >= 0) emit(c, NAME(tile_sum), b->tile[i], 0, i);
        c->weight++;
        place(b, i);
        return;
    }
    const int64_t beside = o->in[held == 0];
    const int one = o->n_in == 2 && beside < c->n_in && c->uniform[beside];
    if (one) other[0] = (int)beside;
    for (int k = 0; k < o->n_in && !one; k++)
        if (k != held) other[n++] = tile_of(b, o->in[k]);
    emit(c, one ? t->with_one[held] : t->with[held], other[0], other[1], i);
    b->held = c->n_in + i;
    c->weight += t->weight;
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
    find_tiles(&b);
    for (int i = 0; i < b.n_operations; i++) emit_operation(&b, i);
    emit(c, NAME(tile_end), 0, 0, 0);
}
