/* backend.h - the line between the engine and a processor: memory, kernels, running a list of
 * steps.
 *
 * A program is a flat list of steps with every operand resolved to memory. The CPU backend runs
 * them one after another, each step spread over the thread pool. Results never depend on the number
 * of threads: a kernel splits its work into parts of a size that only the shapes decide, and adds
 * the parts up in order.
 *
 * Memory may be a device's, which the host can't reach: what goes in and out passes through
 * backend_upload and backend_download. A device works behind the host's back; upload, download and
 * `finish` are where the host hears of a kernel that failed.
 *
 * Memory rules. Every tensor starts at a multiple of 64 bytes unless it is a view; at least 256
 * bytes before and behind each arena can be read, never written. Kernels do not allocate: they ask
 * for scratch at build time. Inputs keep to the layout that ops.def states, outputs are dense. */
#ifndef CORE_BACKEND_H
#define CORE_BACKEND_H
#include <stdbool.h>
#include "status.h"
#include "tensor.h"

enum op {
#define OP(name, text, class, layout) OP_##name,
#include "ops.def"
#undef OP
    OP_COUNT
};

struct step;
struct engine;
struct train_update;

/* What changes from one run of a program to the next. */
struct run {
    struct engine *engine;
    uint64_t seed, step; /* key of the random numbers */
    int64_t row;         /* number of the batch's first sample in the global batch */
    const struct train_update
        *update;        /* behind the steps; NULL: none. Only where there is update_begin */
    glow_status status; /* set by a kernel that failed, with a recorded message */
    /* Not NULL: a FUSED step lowers it to the first of its operations that makes a NaN or Inf. */
    int32_t *nonfinite;
};

/* The most that a FUSED step holds. */
enum { FUSED_OPS = 64, FUSED_INPUTS = 48, FUSED_OUTPUTS = 16 };

typedef void (*kernel_fn)(const struct step *, struct run *);

/* One operation, ready to run. */
struct step {
    int32_t op, n_in, n_out, n_ai, n_ad;
    const struct tensor *in, *out; /* data == NULL: absent or unwanted */
    const int64_t *ai;
    const double *ad;
    void *scratch;
    kernel_fn run;
    const char *owner;                /* path of the instance that described it */
    const char *const *owners;        /* OP_FUSED: of each operation */
    int64_t flops;                    /* of products: multiply-adds times 2; for people */
    const struct glow_kernel *custom; /* OP_CUSTOM */
    const struct glow_type *types;    /* OP_CUSTOM: of in, then out, as the plug-in knows them */
};

/* Flat arrays of one real type: parameters, gradients, moments. All loops run in a fixed order. */
struct flat {
    void *data;
    int64_t n;
    int32_t dtype;
};

enum optimizer { OPTIM_SGD = 1, OPTIM_ADAM = 2, OPTIM_ADAMAX = 3 };
struct optim_args { /* w -= update(g); m, v: moments, NULL where not used */
    int32_t kind, dtype;
    int64_t n; /* elements; n is a multiple of 16, all pointers 64-byte aligned */
    void *w, *g, *m, *v;
    double lr, beta1, beta2, eps, momentum;
    double scale;      /* g is multiplied by this first: clipping by norm */
    double clip_value; /* then clipped to [-clip_value, clip_value]; 0 = off */
    double l2;         /* then l2 * w is added */
    uint64_t t;        /* update number, from 1: bias correction */
};

/* The second half of a training step, for a device that does it by itself: is the loss finite and
 * the gradient; then the update and the moving average. The rates come from a table, by the number
 * of the update, which only the device knows: a rejected step has none. */
struct train_update {
    int32_t kind, dtype;
    int64_t n_decayed, n;          /* elements: those with l2, which come first; all */
    void *w, *g, *m, *v, *average; /* NULL where not used */
    double beta1, beta2, eps, momentum, clip_value, clip_norm, l2;
    const struct tensor *loss; /* a scalar of the program */
};
enum { UPDATE_AHEAD = 1024 }; /* rates in the table, and reports that are kept */
struct update_rate {
    double lr, ema;
};
struct update_report {
    double loss, gradient_norm, lr;
    int64_t accepted; /* 0: parameters and moments are as they were */
};

/* Memory of a device, to show, in bytes. */
struct memory_report {
    size_t used, peak;     /* in blocks that alloc gave */
    size_t reserved;       /* from the device, for these blocks and the next */
    size_t available, all; /* of the device */
};

struct recording; /* a list of steps, ready to be started as one */

struct backend {
    const char *name;
    /* FUSED steps may hold sums over any axes, if the last is one of them; else only those over
     * all axes of a sample. */
    bool fuses_all_sums;
    /* An engine with that many threads (0: all processors of this process). */
    glow_status (*open)(struct engine **, int threads);
    void (*close)(struct engine *);
    int (*threads)(const struct engine *);
    /* What its kernels are made for, to show: "avx512". */
    const char *(*kernels)(const struct engine *);
    /* Memory of the device, zeroed, 64-byte aligned with the margins above; owner names it in
     * errors. */
    glow_status (*alloc)(struct engine *, size_t bytes, const char *owner, void **out);
    void (*release)(struct engine *, void *);

    /* The kernel of an operation, or NULL if there is none. The dtype is that of the first input,
     * of the output where there is no input. */
    kernel_fn (*kernel)(int op, int32_t dtype);
    /* Bytes of scratch that a step needs. Operand shapes and strides are set, data pointers are
     * NULL only for absent and unwanted ones (others hold a dummy). */
    size_t (*scratch)(const struct engine *, const struct step *);
    /* Elements of hidden buffer i (0..n-2) of a CHAIN: x is its input, stage widths are in
     * w[i].dim[1]. */
    int64_t (*chain_hidden)(const struct step *, int i);
    /* How the weights of a stage of a CHAIN are best kept (the same step), whatever the batch; a
     * packing left at zero, or no such function: in C order. The kernels of CHAIN and CHAIN_VJP
     * take weights either way, and give a gradient, padding too, in the packing of its weights. */
    void (*chain_packing)(const struct step *, int stage, struct packing *);
    /* Runs steps in order; stops at the first that fails. */
    glow_status (*run)(struct engine *, const struct step *, int64_t n, struct run *);

    /* One optimizer update over part of the arenas. */
    void (*optim)(struct engine *, const struct optim_args *);
    /* sum of squares in f64; NaN or Inf in x make it NaN or Inf. */
    double (*sum_squares)(struct engine *, const struct flat *);
    /* average = decay * average + (1 - decay) * x */
    void (*ema)(struct engine *, const struct flat *average, const struct flat *x, double decay);

    /* From now on `run` adds the seconds of each step to seconds_by_op[op] (OP_COUNT numbers);
     * NULL: off. */
    void (*profile)(struct engine *, double *seconds_by_op);

    /* The same with convolutions that multiply bf16 numbers and add them up in f32; tensors,
     * parameters and gradients stay f32. NULL: there is none. */
    const struct backend *bf16;

    /* The rest only where memory is a device's; else NULL. */

    /* Makes a plug-in's kernel with an image (plugin.h) ready for operands of these shapes, so that
     * no step has to: loads it, and checks entry, parameters and geometry. GLOW_ENOTSUP: it is not
     * for this device, which is told once, or not for these shapes; the operation is decomposed
     * then. `name` is for the user. */
    glow_status (*load_image)(struct engine *, const char *name, const struct glow_kernel *,
                              const struct glow_kernel_call *shapes);

    /* Copies into and out of the device, in order with what runs there. When they return, the
     * host's side may be used again. */
    glow_status (*upload)(struct engine *, void *to, const void *from, size_t bytes);
    glow_status (*download)(struct engine *, void *to, const void *from, size_t bytes);
    /* Copies within the device. */
    glow_status (*copy)(struct engine *, void *to, const void *from, size_t bytes);
    /* Waits for the device. */
    glow_status (*finish)(struct engine *);
    /* Updates go on behind number `done`; rate[i] is that of update done + 1 + i, i < n, n <=
     * UPDATE_AHEAD. At most n steps may run before the next call. */
    glow_status (*update_begin)(struct engine *, uint64_t done, const struct update_rate *, int n);
    /* Waits, and gives the reports of the n steps since update_begin. */
    glow_status (*update_end)(struct engine *, struct update_report *, int n);
    /* Makes a recording of steps that have run before, and of the update behind them (or NULL);
     * their operands and what they point to must outlive it. */
    glow_status (*record)(struct engine *, const struct step *, int64_t n,
                          const struct train_update *, struct recording **);
    glow_status (*replay)(struct engine *, struct recording *, struct run *);
    void (*forget)(struct engine *, struct recording *);
    void (*memory)(struct engine *, struct memory_report *);
};

extern const struct backend backend_cpu;
/* Numbers of the host's streams (philox.h), whatever backend runs the programs; from any thread. */
void cpu_random(uint64_t seed, uint64_t stream, int32_t kind, double *out, int64_t n);
/* The backend of that name ("auto", "cpu", "cuda"), or an error that says what is there, or why it
 * can't be used. "auto" takes the best that works, and notes why a better one does not. Its variant
 * for bf16 is backend->bf16. */
glow_status backend_find(const char *name, const struct backend **out);
/* Where nobody says which: the one that the environment's GLOW_BACKEND names, else the CPU's. */
glow_status backend_default(const struct backend **out);

/* Memory in and out, whoever's it is. */
glow_status backend_upload(const struct backend *, struct engine *, void *to, const void *from,
                           size_t bytes);
glow_status backend_download(const struct backend *, struct engine *, void *to, const void *from,
                             size_t bytes);
glow_status backend_copy(const struct backend *, struct engine *, void *to, const void *from,
                         size_t bytes);
glow_status backend_finish(const struct backend *, struct engine *);
#endif
