/* kernels_run.c - see the header. */
#include "kernels_run.h"
#include "kernels_reference.h"
#include "philox.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 512, GUARD_BYTE = 0xA5, EMPTY_BYTE = 0xFF }; /* 0xFF.. is NaN in both types */

static const char *const op_names[OP_COUNT] = {
#define OP(name, text, class, layout) [OP_##name] = text,
#include "ops.def"
#undef OP
};
enum op_class { LEAF, FILL, VIEW, ELEM, KERN };
static const unsigned char op_classes[OP_COUNT] = {
#define OP(name, text, class, layout) [OP_##name] = class,
#include "ops.def"
#undef OP
};

const char *case_text(const struct case_run *r)
{
    static char text[512];
    snprintf(text, sizeof text, "%s f%d %s, ai %lld %lld %lld%s", op_names[r->of->op],
             r->dtype == DT_F64 ? 64 : 32, r->of->shapes, (long long)r->of->ai[0],
             (long long)r->of->ai[1], (long long)r->of->ai[2],
             r->of->special ? ", special values" : "");
    return text;
}

/* ---------------------------------------------------------------- memory */

static void *guarded(char **storage, size_t bytes)
{
    size_t total = (bytes + 2 * GUARD + 63) / 64 * 64;
    *storage = aligned_alloc(64, total);
    ck_assert_ptr_nonnull(*storage);
    memset(*storage, GUARD_BYTE, total);
    memset(*storage + GUARD, EMPTY_BYTE, bytes);
    return *storage + GUARD;
}

/* Assertions of Check write to a file each, so in loops only failures call one. */
static void check_guards(const struct case_run *r, const char *storage, size_t bytes,
                         const char *what)
{
    size_t total = (bytes + 2 * GUARD + 63) / 64 * 64;
    for (size_t i = 0; i < total; i++) {
        if (i == GUARD) i += bytes;
        if ((unsigned char)storage[i] != GUARD_BYTE)
            ck_abort_msg("%s: writes at byte %lld of its %s of %zu", case_text(r),
                         (long long)i - GUARD, what, bytes);
    }
}

static double load(const struct tensor *t, int64_t i)
{
    return t->dtype == DT_F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
}

static void store(const struct tensor *t, int64_t i, double x)
{
    if (t->dtype == DT_F64)
        ((double *)t->data)[i] = x;
    else
        ((float *)t->data)[i] = (float)x;
}

/* ---------------------------------------------------------------- shapes and layouts */

static void set_dense(struct tensor *t)
{
    int64_t stride = 1;
    for (int i = t->rank - 1; i >= 0; stride *= t->dim[i], i--) t->stride[i] = stride;
}

/* Strides of a layout; returns how many elements the memory has, and where the first one is. */
static int64_t lay_out(struct tensor *t, char layout, int64_t *first)
{
    int last = t->rank - 1;
    int64_t n = tensor_count(t), plane = 1;
    *first = 0;
    set_dense(t);
    if (layout == 't') {
        t->stride[last] = t->dim[last - 1];
        t->stride[last - 1] = 1;
    } else if (layout == 's') {
        for (int i = 0; i < t->rank; i++) t->stride[i] *= 2;
        n *= 2;
    } else if (layout == 'r') {
        t->stride[last] = -1;
        *first = t->dim[last] - 1;
    } else if (layout == 'p') {
        for (int i = 2; i < t->rank; i++) plane *= t->dim[i];
        t->stride[1] = 2 * plane;
        t->stride[0] = (2 * t->dim[1] + 1) * plane;
        *first = plane;
        n = t->dim[0] * t->stride[0];
    } else if (layout == 'b') {
        t->stride[0] = 0;
    } else if (layout == 'e') {
        t->stride[last] = 0;
    }
    return n;
}

static int64_t strided(const struct tensor *t, int64_t number)
{
    int64_t at = 0;
    for (int i = t->rank - 1; i >= 0; i--) {
        at += number % t->dim[i] * t->stride[i];
        number /= t->dim[i];
    }
    return at;
}

/* Reads one shape and makes the operand. Returns what follows it. */
static const char *read_operand(struct operand *o, const char *text, int32_t dtype)
{
    char layout = 0, *end;
    int64_t first, n;
    text += strspn(text, " ,");
    *o = (struct operand){ .tensor = { .dtype = dtype } };
    if (*text == '-') return text + 1;
    for (;; text++) {
        o->tensor.dim[o->tensor.rank++] = strtoll(text, &end, 10);
        text = end;
        if (*text != 'x') break;
    }
    for (; *text >= 'a' && *text <= 'z'; text++) {
        if (*text == 'd')
            o->tensor.dtype = DT_F64;
        else
            layout = *text;
    }
    n = lay_out(&o->tensor, layout, &first);
    o->bytes = (size_t)n * dtype_size(o->tensor.dtype);
    o->tensor.data =
        (char *)guarded(&o->storage, o->bytes) + (size_t)first * dtype_size(o->tensor.dtype);
    o->value = calloc((size_t)tensor_count(&o->tensor), sizeof(double));
    ck_assert_ptr_nonnull(o->value);
    return text;
}

/* ---------------------------------------------------------------- values */

/* A number in [0,1) that depends on operand and element only. */
static double draw(int operand, int64_t i)
{
    return (double)(hash_mix((uint64_t)operand << 40 ^ (uint64_t)i) >> 40) / 16777216.0;
}

static double special_value(double u)
{
    static const double values[] = { NAN,   INFINITY, -INFINITY, 0,   -0.0, 1e-40, -1e-40, 3e38,
                                     -3e38, 89,       -89,       104, -104, 1,     -1,     1e-20 };
    return (float)values[(int)(u * 16)];
}

static double lu_value(int operand, int64_t i, double u, const struct tensor *t)
{
    int64_t n = t->dim[1];
    switch (operand) {
    case 0: return (2 * u - 1) * 0.4;
    case 1: return u - 0.5;
    case 2: return (double)((i * (n % 3 ? 3 : 1) + 1) % n); /* a permutation */
    case 3: return u < 0.5 ? -1 : 1;
    default: return 2 * u - 1;
    }
}

static double value(const struct kernel_case *c, int operand, int64_t i, const struct tensor *t)
{
    double u = draw(operand, i), half = floor(u * 9) / 2 - 2; /* -2, -1.5 .. 2 */
    if (c->special && draw(operand + 100, i) < 0.3) return special_value(draw(operand + 200, i));
    switch (c->op) {
    case OP_LOG:
    case OP_SQRT: return (float)(4 * u + 1e-3);
    case OP_POW: return (float)(operand == 0 ? 4 * u + 1e-3 : 6 * u - 3);
    case OP_LOG1P: return (float)(4 * u * u - 0.999);
    case OP_EXP:
    case OP_EXPM1:
    case OP_SIGMOID:
    case OP_LOG_SIGMOID:
    case OP_SOFTPLUS:
    case OP_TANH: return (float)(24 * u - 12);
    case OP_LT:
    case OP_LE:
    case OP_GT:
    case OP_GE:
    case OP_EQ:
    case OP_MIN:
    case OP_MAX:
    case OP_FLOOR:
    case OP_SIGN: return half;
    case OP_WHERE: return operand == 0 ? half > 0 : (float)(4 * u - 2);
    case OP_LU:
    case OP_LU_VJP: return (float)lu_value(operand, i, u, t);
    case OP_CHAIN:
    case OP_CHAIN_VJP: return (float)(u - 0.5); /* f32 loses the slope of a saturated tanh */
    default: return (float)(4 * u - 2);
    }
}

void case_prepare(struct case_run *r, const struct kernel_case *c, int32_t dtype)
{
    const char *text = c->shapes, *arrow = strstr(text, "->");
    *r = (struct case_run){ .of = c, .dtype = dtype };
    for (; text < arrow; r->n_in++, text += strspn(text, " ,"))
        text = read_operand(&r->operand[r->n_in], text, dtype);
    for (text = arrow + 2; *text; r->n_out++)
        text = read_operand(&r->operand[r->n_in + r->n_out], text, dtype);
    for (int k = 0; k < r->n_in; k++) {
        struct operand *o = &r->operand[k];
        if (!o->storage) continue;
        /* Stretched axes: whoever writes an element last decides for all that share it. */
        for (int64_t i = 0; i < tensor_count(&o->tensor); i++)
            store(&o->tensor, strided(&o->tensor, i), value(c, k, i, &o->tensor));
        for (int64_t i = 0; i < tensor_count(&o->tensor); i++)
            o->value[i] = load(&o->tensor, strided(&o->tensor, i));
    }
    r->run = (struct run){ .seed = 0x123456789ABCDEF0u, .step = 0x100000003u, .row = 5 };
}

/* ---------------------------------------------------------------- running */

static void make_step(struct case_run *r)
{
    for (int k = 0; k < r->n_in + r->n_out; k++) r->tensor[k] = r->operand[k].tensor;
    r->step = (struct step){ .op = r->of->op,
                             .n_in = r->n_in,
                             .n_out = r->n_out,
                             .n_ai = 40,
                             .n_ad = 4,
                             .in = r->tensor,
                             .out = r->tensor + r->n_in,
                             .ai = r->of->ai,
                             .ad = r->of->ad,
                             .owner = "test" };
}

/* On a device: all storage goes there, guards too, and comes back behind the kernel. */
struct shipment {
    struct engine *engine;
    const char *host[CASE_OPERANDS + 1];
    void *device[CASE_OPERANDS + 1];
    size_t bytes[CASE_OPERANDS + 1];
    int n;
};

static void *ship(struct shipment *s, const struct case_run *r, const char *storage, size_t bytes,
                  const void *at)
{
    const struct backend *b = kernels_backend();
    const size_t total = (bytes + 2 * GUARD + 63) / 64 * 64;
    void *device;
    ck_assert_msg(b->alloc(s->engine, total, "test", &device) == GLOW_OK &&
                      b->upload(s->engine, device, storage, total) == GLOW_OK,
                  "%s: %s", case_text(r), fail_message());
    s->host[s->n] = storage;
    s->device[s->n] = device;
    s->bytes[s->n++] = total;
    return (char *)device + ((const char *)at - storage);
}

static void send_there(struct shipment *s, struct case_run *r, int in_place)
{
    const int n = r->n_in + r->n_out;
    for (int k = 0; k < n; k++) {
        const struct operand *o = &r->operand[k];
        if (o->storage && !(k == r->n_in && in_place >= 0))
            r->tensor[k].data = ship(s, r, o->storage, o->bytes, o->tensor.data);
    }
    if (in_place >= 0) r->tensor[r->n_in].data = r->tensor[in_place].data;
    r->step.scratch = ship(s, r, r->scratch, r->scratch_bytes, r->step.scratch);
}

static void bring_back(const struct shipment *s, const struct case_run *r)
{
    const struct backend *b = kernels_backend();
    for (int i = 0; i < s->n; i++) {
        ck_assert_msg(b->download(s->engine, (char *)(uintptr_t)s->host[i], s->device[i],
                                  s->bytes[i]) == GLOW_OK,
                      "%s: %s", case_text(r), fail_message());
        b->release(s->engine, s->device[i]);
    }
}

void case_execute(struct case_run *r, struct engine *engine, int in_place)
{
    const struct backend *b = kernels_backend();
    struct shipment shipment = { .engine = engine };
    make_step(r);
    for (int k = r->n_in; k < r->n_in + r->n_out; k++)
        if (r->operand[k].storage)
            memset(r->operand[k].storage + GUARD, EMPTY_BYTE, r->operand[k].bytes);
    if (in_place >= 0) r->tensor[r->n_in].data = r->tensor[in_place].data;
    r->step.run = b->kernel(r->of->op, r->tensor[0].dtype);
    ck_assert_msg(r->step.run != NULL, "%s: no kernel", case_text(r));
    free(r->scratch);
    r->scratch_bytes = b->scratch(engine, &r->step);
    r->step.scratch = guarded(&r->scratch, r->scratch_bytes);
    if (b->upload) send_there(&shipment, r, in_place);
    ck_assert_msg(b->run(engine, &r->step, 1, &r->run) == GLOW_OK, "%s: %s", case_text(r),
                  fail_message());
    if (b->upload) bring_back(&shipment, r);
    check_guards(r, r->scratch, r->scratch_bytes, "scratch");
    for (int k = r->n_in; k < r->n_in + r->n_out; k++)
        if (r->operand[k].storage)
            check_guards(r, r->operand[k].storage, r->operand[k].bytes, "output");
    if (in_place >= 0) /* the result where the comparison looks for it */
        memcpy(r->operand[r->n_in].tensor.data, r->operand[in_place].tensor.data,
               r->operand[r->n_in].bytes);
}

static void run_reference(const struct case_run *r)
{
    struct tensor tensor[CASE_OPERANDS];
    struct step step = r->step;
    for (int k = 0; k < r->n_in + r->n_out; k++) {
        tensor[k] = r->operand[k].tensor;
        tensor[k].dtype = DT_F64;
        tensor[k].data = r->operand[k].value;
        set_dense(&tensor[k]);
    }
    step.in = tensor;
    step.out = tensor + r->n_in;
    reference(step.op)(&step, &r->run);
}

/* What a result may differ by: elementwise by some units in the last place of itself, else by a
 * part of the largest result. */
static double tolerance(const struct case_run *r, const struct operand *o, double want)
{
    double largest = 0;
    int f64 = r->dtype == DT_F64;
    int op = r->of->op;
    if (op_classes[op] == ELEM || op_classes[op] == FILL)
        return fabs(want) * (f64 ? 1e-15 : 3.6e-7) + (f64 ? 1e-300 : 3e-45);
    for (int64_t i = 0; i < tensor_count(&o->tensor); i++)
        largest = fmax(largest, fabs(o->value[i]));
    if (op == OP_LU_VJP && f64)
        return 1e-8 * (1 + largest); /* the reference is a difference quotient */
    return (largest + 1e-30) * (f64 || o->tensor.dtype == DT_F64 ? 1e-12 : 4e-6);
}

void case_compare(const struct case_run *r, const char *set)
{
    run_reference(r);
    for (int k = r->n_in; k < r->n_in + r->n_out; k++) {
        const struct operand *o = &r->operand[k];
        if (!o->storage) continue;
        for (int64_t i = 0; i < tensor_count(&o->tensor); i++) {
            double want = o->value[i], got = load(&o->tensor, i);
            if (o->tensor.dtype == DT_F32) want = (float)want; /* may overflow to infinity */
            if (isnan(want) ? isnan(got) : got == want) continue;
            if (isfinite(want) && fabs(got - want) <= tolerance(r, o, want)) continue;
            ck_abort_msg("%s, %s: output %d, element %lld is %.17g, wanted %.17g", case_text(r),
                         set, k - r->n_in, (long long)i, got, want);
        }
    }
}

void case_free(struct case_run *r)
{
    for (int k = 0; k < r->n_in + r->n_out; k++) {
        free(r->operand[k].storage);
        free(r->operand[k].value);
    }
    free(r->scratch);
}

/* ---------------------------------------------------------------- engines */

const struct backend *kernels_backend(void)
{
    static const struct backend *backend;
    if (!backend) ck_assert_msg(backend_default(&backend) == GLOW_OK, "%s", fail_message());
    return backend;
}

struct engine *open_engine(const char *set, int threads)
{
    struct engine *engine = NULL;
    setenv("GLOW_CPU", set, 1);
    ck_assert_msg(kernels_backend()->open(&engine, threads) == GLOW_OK, "%s", fail_message());
    return engine;
}

const char *const *instruction_sets(void)
{
    static const char *const all[] = { "base", "avx2", "avx512", "avx512bf16" };
    static const char *there[5];
    int n = 0;
    if (kernels_backend() != &backend_cpu) {
        there[0] = kernels_backend()->name;
        there[1] = NULL;
        return there;
    }
    for (int i = 0; i < 4; i++) {
        struct engine *engine = NULL;
        setenv("GLOW_CPU", all[i], 1);
        if (backend_cpu.open(&engine, 1) == GLOW_OK) there[n++] = all[i];
        backend_cpu.close(engine);
    }
    there[n] = NULL;
    return there;
}
