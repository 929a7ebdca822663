/* test_packing.c - packed weights: what packing.h says of every layout; and the engine around them,
 * on a backend that keeps weights packed but computes with the plain kernels of the CPU, so that a
 * model on it must do bit for bit what a model with plain weights does; and the CPU's own. */
#include "packing.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "checkpoint.h"
#include "graph.h"
#include "rig.h"

/* ---------------------------------------------------------------- packing.c */

/* Where the header says that weight (o, i, tap) lies. */
static int64_t place(const struct packing *p, int64_t o, int64_t i, int64_t tap)
{
    int64_t rows = p->out, columns = (p->in + p->edge) * p->taps, r = o, c = i * p->taps + tap;
    if (p->scatter) {
        rows = p->out * p->taps;
        columns = p->in;
        r = o * p->taps + tap;
        c = i;
        if (i == p->in) return p->edge_offset + r;
    }
    ck_assert(r < rows && c < columns);
    int64_t row = p->turned ? c : r, column = p->turned ? r : c;
    return column / p->panel * p->panel_stride + row * p->panel + column % p->panel;
}

static void check_packing(const struct packing *p, int32_t dtype)
{
    const size_t size = dtype_size(dtype);
    const int64_t channels = p->in + p->edge, n = p->out * channels * p->taps;
    char *plain = calloc((size_t)n, size), *packed = malloc((size_t)p->count * size),
         *back = calloc((size_t)n, size), *taken = calloc((size_t)p->count, 1);
    ck_assert(plain && packed && back && taken);
    ck_assert_int_eq(p->count % 16, 0);
    for (int64_t k = 0; k < n; k++) {
        if (dtype == DT_F64)
            ((double *)plain)[k] = (double)k + 1;
        else
            ((float *)plain)[k] = (float)k + 1;
    }
    memset(packed, 0xff, (size_t)p->count * size);
    packing_pack(p, dtype, packed, plain);
    for (int64_t k = 0; k < n; k++) {
        int64_t at = place(p, k / p->taps / channels, k / p->taps % channels, k % p->taps);
        ck_assert_int_eq(packing_position(p, k), at);
        ck_assert(at >= 0 && at < p->count && !taken[at]++);
        ck_assert_mem_eq(packed + (size_t)at * size, plain + (size_t)k * size, size);
    }
    static const double zero;
    for (int64_t at = 0; at < p->count; at++)
        if (!taken[at]) ck_assert_mem_eq(packed + (size_t)at * size, &zero, size);
    packing_unpack(p, dtype, back, packed);
    ck_assert_mem_eq(plain, back, (size_t)n * size);
    memset(back, 0, (size_t)n * size);
    memset(packed, 0, (size_t)p->count * size);
    for (int64_t o = 0; o < p->out; o += 3) { /* in parts */
        const int64_t some = p->out - o < 3 ? p->out - o : 3;
        packing_pack_outputs(p, dtype, packed, plain, o, some);
        packing_unpack_outputs(p, dtype, back, packed, o, some);
    }
    for (int64_t k = 0; k < n; k++)
        ck_assert_mem_eq(packed + (size_t)packing_position(p, k) * size, plain + (size_t)k * size,
                         size);
    ck_assert_mem_eq(plain, back, (size_t)n * size);
    free(plain);
    free(packed);
    free(back);
    free(taken);
}

START_TEST(layouts)
{
    static const int64_t sizes[][3] = { { 1, 1, 1 },  { 1, 17, 9 }, { 5, 3, 9 },
                                        { 16, 8, 1 }, { 33, 7, 9 }, { 7, 31, 25 } };
    static const int32_t panels[] = { 1, 8, 16, 24 };
    int tried = 0;
    for (size_t s = 0; s < GLOW_COUNT(sizes); s++)
        for (size_t w = 0; w < GLOW_COUNT(panels); w++)
            for (int32_t way = 0; way < 8; way++, tried++) {
                struct packing p = { .out = sizes[s][0],
                                     .in = sizes[s][1],
                                     .taps = sizes[s][2],
                                     .edge = way & 1,
                                     .scatter = way >> 1 & 1,
                                     .turned = way >> 2,
                                     .panel = panels[w] };
                packing_complete(&p);
                check_packing(&p, DT_F32);
                check_packing(&p, DT_F64);
            }
    ck_assert_int_eq(tried, 6 * 4 * 8);
}
END_TEST

START_TEST(equality)
{
    const struct packing p = { 4, 3, 9, 1, 0, 0, 16, 0, 0, 0 };
    struct packing other[] = { p, p, p, p, p, p, p };
    other[0].out++;
    other[1].in++;
    other[2].taps++;
    other[3].edge = 0;
    other[4].scatter = 1;
    other[5].turned = 1;
    other[6].panel = 8;
    ck_assert(packing_equal(&p, &p));
    for (size_t i = 0; i < GLOW_COUNT(other); i++) {
        ck_assert(!packing_equal(&p, &other[i]));
        ck_assert(!packing_equal(&other[i], &p));
    }
}
END_TEST

/* ---------------------------------------------------------------- two backends */

static struct backend plain, packed;
static int64_t unpacked, repacked; /* weights that packed chains have read, and written */
static bool spoil;                 /* the last element of each packed gradient becomes NaN */

/* Every stage has a layout of its own, and a stage has another one in a shorter chain. */
static void choose_packing(const struct step *step, int stage, struct packing *p)
{
    const int64_t *w = step->in[1 + 3 * stage].dim;
    *p = (struct packing){ .edge = step->ai[2 + 3 * stage] != 0, .panel = 16 };
    p->out = w[1];
    p->in = w[2] - p->edge;
    p->taps = w[3] * w[4];
    p->scatter = stage == 2;
    p->turned = (stage + (int)step->ai[0]) % 2;
    packing_complete(p);
}

/* A tensor of weights in C order, with the margins that kernels may read. */
static struct tensor in_order(const struct tensor *t, struct run *run)
{
    struct tensor w = *t;
    w.packing = NULL;
    ck_assert_int_eq(backend_cpu.alloc(run->engine, (size_t)tensor_count(t) * dtype_size(t->dtype),
                                       "weights", &w.data),
                     GLOW_OK);
    return w;
}

/* The CPU's kernel on weights in C order. */
static void run_unpacked(const struct step *step, struct run *run)
{
    struct tensor in[64], out[64];
    struct step s = *step;
    memcpy(in, step->in, (size_t)step->n_in * sizeof *in);
    memcpy(out, step->out, (size_t)step->n_out * sizeof *out);
    s.in = in;
    s.out = out;
    for (int64_t k = 1; k <= 3 * step->ai[0]; k += 3) {
        if (in[k].packing) {
            in[k] = in_order(&step->in[k], run);
            struct packing want;
            choose_packing(step, (int)k / 3, &want);
            ck_assert(packing_equal(step->in[k].packing, &want));
            packing_unpack(step->in[k].packing, in[k].dtype, in[k].data, step->in[k].data);
            unpacked++;
        }
        if (step->op == OP_CHAIN_VJP) {
            ck_assert_ptr_eq(step->out[k].packing, step->in[k].packing);
            if (out[k].packing && out[k].data) out[k] = in_order(&step->out[k], run);
            out[k].packing = NULL;
        }
    }
    backend_cpu.kernel(step->op, in[0].dtype)(&s, run);
    for (int64_t k = 1; k <= 3 * step->ai[0]; k += 3) {
        if (in[k].data != step->in[k].data) backend_cpu.release(run->engine, in[k].data);
        if (step->op != OP_CHAIN_VJP || out[k].data == step->out[k].data) continue;
        if (spoil) ((float *)out[k].data)[tensor_count(&out[k]) - 1] = NAN;
        packing_pack(step->out[k].packing, out[k].dtype, step->out[k].data, out[k].data);
        backend_cpu.release(run->engine, out[k].data);
        repacked++;
    }
}

/* Plain kernels need room that those for packed weights do without. */
static size_t scratch_unpacked(const struct engine *engine, const struct step *step)
{
    struct tensor in[64], out[64];
    struct step s = *step;
    memcpy(in, step->in, (size_t)step->n_in * sizeof *in);
    memcpy(out, step->out, (size_t)step->n_out * sizeof *out);
    for (int k = 0; k < step->n_in; k++) in[k].packing = NULL;
    for (int k = 0; k < step->n_out; k++) out[k].packing = NULL;
    s.in = in;
    s.out = out;
    const int chain = step->op == OP_CHAIN || step->op == OP_CHAIN_VJP;
    return backend_cpu.scratch(engine, chain ? &s : step);
}

static kernel_fn kernel_of(int op, int32_t dtype)
{
    return op == OP_CHAIN || op == OP_CHAIN_VJP ? run_unpacked : backend_cpu.kernel(op, dtype);
}

static void setup(void)
{
    plain = packed = backend_cpu;
    plain.chain_packing = NULL;
    packed.chain_packing = choose_packing;
    packed.kernel = kernel_of;
    packed.scratch = scratch_unpacked;
    unpacked = repacked = 0;
    spoil = false;
    rig_load("plugins/twice.c");
}

static struct model *model_on(const struct backend *backend, const char *members, int32_t real)
{
    struct model *m;
    if (rig_try_model(
            &m, members,
            &(struct model_options){ .backend = backend, .threads = 1, .real = real, .seed = 7 }))
        ck_abort_msg("%s", fail_message());
    rig_perturb(m, 0.05);
    return m;
}

/* The same numbers in both models' arenas, whatever the layout; nothing but zeros between them. */
static void check_arenas(const struct model *a, const void *in_a, const struct model *b,
                         const void *in_b)
{
    ck_assert_int_eq(a->n_params, b->n_params);
    ck_assert_int_eq(a->n_trained, b->n_trained);
    char *taken = calloc((size_t)b->n_elements, 1);
    ck_assert_ptr_nonnull(taken);
    for (int i = 0; i < a->n_params; i++) {
        const size_t n = (size_t)a->params[i].count;
        double *x = calloc(2 * n, sizeof *x);
        ck_assert_ptr_nonnull(x);
        model_get(a, in_a, i, x);
        model_get(b, in_b, i, x + n);
        ck_assert_msg(!memcmp(x, x + n, n * sizeof *x), "%s differs", a->params[i].name);
        free(x);
        for (size_t k = 0; k < n; k++) taken[param_position(&b->params[i], (int64_t)k)] = 1;
    }
    for (int64_t k = 0; k < b->n_elements; k++) {
        double x = b->real == DT_F64 ? ((const double *)in_b)[k] : (double)((const float *)in_b)[k];
        ck_assert_msg(taken[k] || x == 0, "padding %lld is %g", (long long)k, x);
    }
    free(taken);
}

static const char *const shared = "input = [4, 4, 6]; flow = ( { layer = \"affine\"; net = "
                                  "\"twice\"; }, { layer = \"invconv\"; }, { layer = \"affine\"; "
                                  "net = { type = \"openai\"; width = 20; }; } );";

/* ---------------------------------------------------------------- which parameters */

static bool ends_in(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && !strcmp(name + n - m, end);
}

START_TEST(choice)
{
    struct model *m = model_on(&packed, shared, DT_F32);
    int chosen = 0;
    for (int i = 0; i < m->n_params; i++) {
        const struct param *p = &m->params[i];
        bool alone = ends_in(p->name, ".w1") || ends_in(p->name, ".w2") || ends_in(p->name, ".w3");
        alone = alone || ends_in(p->name, ".v"); /* but not the net twice's w */
        ck_assert_msg(alone == (p->packing.count > 0), "%s", p->name);
        ck_assert_int_eq(p->stored, alone ? p->packing.count : p->count);
        chosen += alone;
    }
    ck_assert_int_eq(chosen, 4);
    model_free(m);
    m = model_on(&plain, shared, DT_F32);
    for (int i = 0; i < m->n_params; i++) ck_assert_int_eq(m->params[i].packing.count, 0);
    model_free(m);
}
END_TEST

/* ---------------------------------------------------------------- graphs */

enum { BATCH = 3 };

/* Uses of a packed weight w that are no chain: it is an output, is squared, goes through an alias
 * and into a chain that is cut otherwise; then the gradient, and w + 1 as w's new value. */
static glow_status describe(struct program_graph *p, void *context)
{
    struct model *m = context;
    const int index = rig_param(m, "affine_2.net.w2");
    const struct glow_type x_type = {
        .dtype = GLOW_REAL, .batched = 1, .rank = 3, .dim = { 20, 4, 4 }
    };
    value_id w, in[4], s, one, gradient;
    TRY(graph_new(&p->g, m, m->backend, m->real, BATCH, GLOW_PHASE_INIT));
    struct graph *g = p->g;
    w = graph_param(g, index);
    ck_assert(graph_value(g, w)->packing == &m->params[index].packing);
    ck_assert_int_eq(graph_value_bytes(g, graph_value(g, w)), 8 * m->params[index].packing.count);
    ck_assert_int_gt(m->params[index].packing.count, m->params[index].count);
    in[0] = program_graph_input(p, "", "x", &x_type);
    in[1] = graph_alias(g, w);
    in[2] = in[3] = 0;
    const int64_t stage[] = { 1, 1, 0, GLOW_ACT_TANH };
    const double scale = 1;
    value_id y = graph_add(
        g,
        &(struct op_call){
            .op = OP_CHAIN, .n_in = 4, .in = in, .n_ai = 4, .ai = stage, .n_ad = 1, .ad = &scale });
    s = graph_reshape(g, graph_sum(g, y, 15, false), 0, NULL);
    value_id squares = graph_sum(g, graph_unary(g, OP_SQUARE, w), 30, false);
    s = graph_binary(g, OP_ADD, s, graph_reshape(g, squares, 0, NULL));
    one = graph_constant(g, 1);
    TRY(graph_gradient(g, 1, &s, &one, 1, &w, &gradient));
    TRY(program_graph_output(p, "", "w", w));
    TRY(program_graph_output(p, "", "s", s));
    TRY(program_graph_output(p, "", "gradient", gradient));
    TRY(graph_bind(g, BIND_GRADIENT, index, gradient));
    TRY(graph_bind(g, BIND_ASSIGN, index, graph_binary(g, OP_ADD, w, one)));
    struct graph *simple;
    TRY(graph_rebuild(g, &simple));
    graph_free(g);
    p->g = simple;
    return GLOW_OK;
}

START_TEST(other_uses)
{
    enum { N = 20 * 20 };
    struct model *m = model_on(&packed, shared, DT_F64);
    struct program *p;
    double x[BATCH * 20 * 16], w[N], y[20] = { 0 }, seen[N], after[N], gradient[N], want, s = 0;
    const int index = rig_param(m, "affine_2.net.w2");
    ck_assert_int_eq(model_training_arenas(m, 0, false), GLOW_OK);
    if (program_compile(&p, m, 0, BATCH, false, describe, m) != GLOW_OK)
        ck_abort_msg("%s", fail_message());
    rig_gauss(3, x, BATCH * 20 * 16);
    rig_write(p, "x", x);
    model_get(m, m->weights, index, w);
    rig_go(p);
    rig_read(p, "w", seen);
    ck_assert_mem_eq(w, seen, sizeof w);
    model_get(m, m->weights, index, after);
    for (int k = 0; k < N; k++) ck_assert_double_eq(after[k], w[k] + 1);
    model_get(m, m->gradients, index, gradient);
    rig_read(p, "gradient", seen);
    ck_assert_mem_eq(gradient, seen, sizeof seen);
    for (int k = 0; k < N; k++) s += w[k] * w[k];
    for (int n = 0; n < BATCH; n++)
        for (int i = 0; i < 16; i++)
            for (int o = 0; o < 20; o++) {
                y[o] = 0;
                for (int c = 0; c < 20; c++) y[o] += w[20 * o + c] * x[(20 * n + c) * 16 + i];
                s += tanh(y[o]);
            }
    ck_assert_double_eq_tol(program_scalar(p, "s"), s, 1e-10 * fabs(s));
    want = 2 * w[21]; /* d s / d w[1][1] */
    for (int n = 0; n < BATCH; n++)
        for (int i = 0; i < 16; i++) {
            double h = 0;
            for (int c = 0; c < 20; c++) h += w[20 + c] * x[(20 * n + c) * 16 + i];
            want += (1 - tanh(h) * tanh(h)) * x[(20 * n + 1) * 16 + i];
        }
    ck_assert_double_eq_tol(gradient[21], want, 1e-10 * (1 + fabs(want)));
    program_free(p);
    model_free(m);
}
END_TEST

/* What chains want as it is goes to them as it is: no step packs or unpacks. */
START_TEST(no_conversions)
{
    static const enum program_kind kinds[] = { PROGRAM_TRAIN, PROGRAM_EVAL, PROGRAM_SAMPLE };
    struct model *m = model_on(_i ? &backend_cpu : &packed, rig_glow(8, 1, 2, 2, 20), DT_F32);
    for (size_t k = 0; k < GLOW_COUNT(kinds); k++) {
        struct program *p = rig_program(m, kinds[k], BATCH);
        int conversions = 0, copies = 0;
        for (int64_t i = 0; i < p->n_steps; i++) {
            const struct step *s = &p->steps[i];
            conversions += s->op == OP_PACK || s->op == OP_UNPACK;
            copies += s->op == OP_COPY && ends_in(s->owner, ".w1"); /* of gradients */
            if (s->op != OP_CHAIN_VJP) continue;
            for (int stage = 0; stage < 3; stage++) { /* they are made in their place */
                const char *dw = s->out[1 + 3 * stage].data, *arena = m->gradients;
                ck_assert(dw >= arena && dw < arena + 4 * m->n_elements);
            }
        }
        ck_assert_int_eq(conversions, 0);
        ck_assert_int_eq(copies, 0);
        program_free(p);
    }
    model_free(m);
}
END_TEST

/* ---------------------------------------------------------------- whole models */

static void write_inputs(const struct program *p)
{
    double x[4000];
    for (int i = 0; i < p->n_inputs; i++) {
        int64_t n = tensor_count(&p->inputs[i].tensor);
        ck_assert_int_le(n, 4000);
        rig_uniform(40 + (uint64_t)i, 0, 1, x, n);
        rig_write(p, p->inputs[i].name, x);
    }
}

/* The programs of a model on a backend that packs against those of one on `plain`. */
static void check_programs(const struct backend *backend, const char *members, int32_t real)
{
    struct model *a = model_on(&plain, members, real), *b = model_on(backend, members, real);
    check_arenas(a, a->weights, b, b->weights);
    for (int kind = PROGRAM_INIT; kind <= PROGRAM_SAMPLE; kind++)
        for (int memory = MEMORY_STORE; memory <= MEMORY_INVERT; memory++) {
            char text[256];
            const struct program_options o = { .kind = (enum program_kind)kind,
                                               .batch = BATCH,
                                               .memory = (enum memory_policy)memory };
            if (kind != PROGRAM_TRAIN && memory != MEMORY_STORE) continue;
            struct program *p = rig_program_of(a, &o), *q = rig_program_of(b, &o);
            write_inputs(p);
            write_inputs(q);
            memset(q->arena, 0xff, (size_t)q->arena_bytes); /* padding in it must be written */
            rig_go(p);
            rig_go(q);
            ck_assert_int_eq(p->n_outputs, q->n_outputs);
            for (int i = 0; i < p->n_outputs; i++) {
                const char *name = p->outputs[i].name;
                ck_assert_msg(rig_hash_output(p, name) == rig_hash_output(q, name),
                              "program %d: %s differs", kind, name);
            }
            ck_assert_int_eq(p->flops, q->flops);
            check_arenas(a, a->weights, b, b->weights); /* INIT sets some */
            if (kind == PROGRAM_TRAIN) check_arenas(a, a->gradients, b, b->gradients);
            ck_assert_ptr_null(program_find_nonfinite(q, 1, 1, 0, text, sizeof text));
            program_free(p);
            program_free(q);
        }
    model_free(a);
    model_free(b);
}

START_TEST(programs)
{
    check_programs(&packed, rig_glow(8, 3, 2, 2, 20), DT_F32);
    check_programs(&packed, rig_glow(8, 1, 2, 1, 5), DT_F64);
    check_programs(&packed, shared, DT_F32);
    ck_assert_int_gt(unpacked, 100);
    ck_assert_int_gt(repacked, 30);
}
END_TEST

/* The CPU's kernels do the same with its own packing: they pack weights in C order so, too. */
START_TEST(own_packing)
{
    check_programs(&backend_cpu, rig_glow(8, 3, 2, 2, 20), DT_F32);
    check_programs(&backend_cpu, rig_glow(8, 1, 2, 1, 5), DT_F64);
    check_programs(&backend_cpu, shared, DT_F32);
}
END_TEST

/* A NaN that stands in packed weights, and in a packed gradient, is found. */
START_TEST(nonfinite)
{
    struct model *m = model_on(&packed, rig_glow(4, 1, 1, 1, 5), DT_F32);
    struct program *p = rig_program(m, PROGRAM_TRAIN, BATCH);
    char text[256];
    double w[5 * 5] = { 0 };
    write_inputs(p);
    ck_assert_ptr_null(program_find_nonfinite(p, 1, 1, 0, text, sizeof text));
    spoil = true;
    ck_assert_ptr_nonnull(program_find_nonfinite(p, 1, 1, 0, text, sizeof text));
    ck_assert_str_eq(text, "last.step.0.affine.net: conv_chain_vjp");
    spoil = false;
    w[24] = NAN;
    rig_set(m, "last.step.0.affine.net.w2", w);
    ck_assert_ptr_nonnull(program_find_nonfinite(p, 1, 1, 0, text, sizeof text));
    ck_assert_str_eq(text, "last.step.0.affine.net: conv_chain");
    program_free(p);
    model_free(m);
}
END_TEST

/* ---------------------------------------------------------------- training, checkpoints */

static const char *const optimizers[] = { "sgd", "adam", "adamax" };

static void train(const struct backend *backend, struct rig_training *t, const char *optimizer,
                  const char *more)
{
    char sections[400];
    snprintf(sections, sizeof sections,
             "data: { dataset = \"glyphs\"; batch = 4; }; train: { threads = 1; ema = 0.9; seed = "
             "11; l2 = 0.01; %s optimizer: { type = \"%s\"; }; };",
             more, optimizer);
    rig_train_on(backend, t, rig_glow(8, 1, 2, 2, 20), sections);
    ck_assert_int_eq(trainer_initialise(&t->trainer, t->data), GLOW_OK);
    ck_assert_int_eq(model_training_arenas(t->model, 0, true), GLOW_OK);
}

static void train_steps(struct rig_training *t, int n)
{
    struct train_report r;
    for (int i = 0; i < n; i++) {
        ck_assert_msg(rig_step(t, &r) == GLOW_OK, "%s", fail_message());
        ck_assert(r.accepted);
    }
}

static void check_training(const struct rig_training *a, const struct rig_training *b)
{
    check_arenas(a->model, a->model->weights, b->model, b->model->weights);
    check_arenas(a->model, a->model->average, b->model, b->model->average);
    check_arenas(a->model, a->model->moment1, b->model, b->model->moment1);
    if (a->model->moment2) check_arenas(a->model, a->model->moment2, b->model, b->model->moment2);
}

/* Without clipping by norm all of an update is elementwise: the same bits. */
START_TEST(training)
{
    struct rig_training a, b;
    train(&plain, &a, optimizers[_i], "clip_norm = 0.0;");
    train(&packed, &b, optimizers[_i], "clip_norm = 0.0;");
    ck_assert(a.settings.clip_norm == 0 && b.settings.clip_norm == 0);
    check_arenas(a.model, a.model->weights, b.model, b.model->weights);
    train_steps(&a, 4);
    train_steps(&b, 4);
    check_training(&a, &b);
    rig_train_end(&a);
    rig_train_end(&b);
}
END_TEST

/* With it, but for the rounding of the norm's sum. */
START_TEST(clipped_training)
{
    struct rig_training a, b;
    train(&plain, &a, "adam", "clip_norm = 0.5;");
    train(&packed, &b, "adam", "clip_norm = 0.5;");
    train_steps(&a, 4);
    train_steps(&b, 4);
    for (int i = 0; i < a.model->n_params; i++) {
        const int64_t n = a.model->params[i].count;
        double *x = calloc(2 * (size_t)n, sizeof *x);
        ck_assert_ptr_nonnull(x);
        model_get(a.model, a.model->weights, i, x);
        model_get(b.model, b.model->weights, i, x + n);
        ck_assert_double_le(rig_difference(x, x + n, n), 1e-6);
        free(x);
    }
    rig_train_end(&a);
    rig_train_end(&b);
}
END_TEST

/* Files do not say how weights are packed: the same bytes; each backend reads the other's. */
START_TEST(checkpoints)
{
    struct rig_training t[2], again[2];
    const struct backend *backends[2] = { &plain, &packed };
    static const char *const names[2] = { "plain.safetensors", "packed.safetensors" };
    size_t n[2];
    char *bytes[2];
    for (int i = 0; i < 2; i++) {
        train(backends[i], &t[i], "adam", "clip_norm = 0.0;");
        train_steps(&t[i], 3);
        ck_assert_int_eq(checkpoint_save(rig_path(names[i]), t[i].model, &t[i].trainer), GLOW_OK);
        bytes[i] = rig_load_file(names[i], &n[i]);
    }
    ck_assert_uint_eq(n[0], n[1]);
    ck_assert_mem_eq(bytes[0], bytes[1], n[0]);
    for (int i = 0; i < 2; i++) {
        struct checkpoint *c;
        free(bytes[i]);
        train(backends[i], &again[i], "adam", "clip_norm = 0.0;");
        ck_assert_int_eq(checkpoint_open(&c, rig_path(names[1 - i])), GLOW_OK);
        ck_assert_msg(checkpoint_load(c, again[i].model) == GLOW_OK, "%s", fail_message());
        ck_assert_int_eq(checkpoint_resume(c, &again[i].trainer), GLOW_OK);
        checkpoint_close(c);
        check_training(&t[0], &again[i]);
    }
    train_steps(&again[0], 2);
    train_steps(&again[1], 2);
    check_training(&again[0], &again[1]);
    for (int i = 0; i < 2; i++) {
        rig_train_end(&t[i]);
        rig_train_end(&again[i]);
    }
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("packing");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, layouts);
    tcase_add_test(tests, equality);
    tcase_add_test(tests, choice);
    tcase_add_test(tests, other_uses);
    tcase_add_loop_test(tests, no_conversions, 0, 2);
    tcase_add_test(tests, programs);
    tcase_add_test(tests, own_packing);
    tcase_add_test(tests, nonfinite);
    tcase_add_loop_test(tests, training, 0, GLOW_COUNT(optimizers));
    tcase_add_test(tests, clipped_training);
    tcase_add_test(tests, checkpoints);
    return rig_run(tests);
}
