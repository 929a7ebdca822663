/* plugin.h - the ABI between glow and its plug-ins, version 1. The only header a plug-in includes.
 *
 * A plug-in is a shared object that exports ONE constant: `glow_plugin_v1`. It lists descriptors of
 * layers, coupling networks, priors, datasets and custom operations. A layer never computes: its
 * callbacks describe graphs through `g->op`, and the host infers shapes, differentiates, plans
 * memory and runs them on whatever backend there is. A plug-in links neither the host nor CUDA.
 *
 * Four rules make this work.
 *  1. Shapes are those of ONE sample; the batch axis is implicit. A plug-in can't see the batch
 *     size. `batched` is a bit of the type: data has it, parameters do not.
 *  2. A value handle is {0} = absent (an optional argument that is not there) or the absorbing
 *     error: every operation that meets it returns it, so a layer need not check anything. The
 *     host reports the FIRST error with the layer's path, the operation and the shapes.
 *  3. Building callbacks are pure and may be called again at any time, for other programs, other
 *     batch sizes and other shapes. They get a const self; there is no hidden state.
 *  4. Pointers that are passed in, either way, are valid until the call returns.
 *
 * Phase tags say when a function may be called: [main] main thread, outside graphs; [build] while
 * describing a graph; [fill] while initial parameters are drawn; [io] from data threads; [exec] while
 * a program runs; [any]. Growth: structs carry their size and grow at the tail; new operations are
 * new codes; new abilities are tables behind host->get(). docs/abi.md states what is promised.
 */
#ifndef GLOW_PLUGIN_H
#define GLOW_PLUGIN_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GLOW_ABI_MINOR 1u
#define GLOW_MAX_RANK 8

/* Callbacks that return int32_t return 0 or one of these. */
enum {
    GLOW_OK = 0,
    GLOW_EINVAL = -1,   /* bad input: configuration, shape, file content */
    GLOW_ENOMEM = -2,   /* out of memory */
    GLOW_EIO = -3,      /* the operating system refused a file */
    GLOW_ENOTSUP = -4,  /* not possible on this backend or in this version */
    GLOW_ECANCEL = -5   /* the host asked to stop */
};

/* ---------------------------------------------------------------- values and types */

typedef struct { uint64_t id; } glow_value;             /* a handle into one graph */
static const glow_value glow_none = { 0 };              /* absent */
#define GLOW_IS_ERROR(v) ((v).id == UINT64_MAX)

enum {
    GLOW_REAL = 1,      /* the program's precision: f32, or f64 in checks */
    GLOW_HI = 2,        /* float64 always: small linear algebra, sums of log-densities */
    GLOW_BOOL = 3,      /* result of a comparison; `where` takes it */
    GLOW_U8 = 16, GLOW_I32 = 17, GLOW_I64 = 18, GLOW_F32 = 19, GLOW_F64 = 20  /* dataset columns only */
};

/* The type of a value. An image is {REAL, batched, 3, {C, H, W}}, planar; a row is {.., 1, {D}}; a
 * scalar per sample has rank 0. Frozen layout. */
struct glow_type {
    int32_t dtype, batched, rank, reserved;
    int64_t dim[GLOW_MAX_RANK];
};

struct glow_graph;                                      /* begins with `op` */
struct glow_flow;                                       /* begins with `op` */
struct glow_self;                                       /* one configured instance */

/* ---------------------------------------------------------------- options */

enum {
    GLOW_OPT_INT = 1, GLOW_OPT_REAL = 2, GLOW_OPT_BOOL = 3, GLOW_OPT_STRING = 4,
    GLOW_OPT_ENUM = 5,                                  /* range "a|b|c" */
    GLOW_OPT_PATH = 6,
    GLOW_OPT_INTS = 7, GLOW_OPT_REALS = 8, GLOW_OPT_STRINGS = 9,
    GLOW_OPT_CHILD = 10                                 /* another plug-in: a net, a prior */
};

/* One key of glow.cfg. The host validates the file against these records, fills in defaults, prints
 * the manual from them, and stores every resolved value in checkpoints. */
struct glow_option {
    const char *key, *help;
    const char *unit;                   /* "bits", "channels"; NULL = none */
    const char *dflt;                   /* configuration text; NULL = required. A CHILD's default is an id */
    const char *legacy;                 /* value meant by checkpoints of a schema < since; NULL = dflt */
    const char *range;                  /* "[1,8]" "(0,inf)"; ENUM "a|b"; lists "#[1,4]" for the length */
    const char *aliases;                /* older names, "a|b"; NULL = none */
    const char *deprecated;             /* what to use instead; NULL = not deprecated */
    uint32_t type, since;               /* GLOW_OPT_*; schema number that introduced it */
    uint32_t slot_kind, reserved;       /* CHILD: the kind that fits, GLOW_NET or GLOW_PRIOR */
    uint64_t slot_needs;                /* CHILD: properties that the child must have, GLOW_NET_* */
};

/* ---------------------------------------------------------------- parameters */

enum { GLOW_INIT_ZERO = 0, GLOW_INIT_CONSTANT = 1 /* a */, GLOW_INIT_NORMAL = 2 /* mean a, deviation b */,
       GLOW_INIT_UNIFORM = 3 /* [a, b) */, GLOW_INIT_FILL = 4 };
enum { GLOW_PARAM_FROZEN = 1,           /* saved, never trained */
       GLOW_PARAM_NO_EMA = 2, GLOW_PARAM_NO_L2 = 4 };

/* A request for a parameter of this instance. Its name is unique in the instance and stands in
 * checkpoints; asked twice, the same parameter comes back. */
struct glow_param {
    uint32_t size, flags, init, reserved;
    const char *name;
    const char *group;                  /* "weight" (L2 applies), "bias", "scale", or NULL */
    struct glow_type type;              /* unbatched; dtype is GLOW_REAL */
    double a, b;
    /* FILL: writes n doubles. `seed` is one per instance, so that several parameters can come from
     * one random matrix. [fill] */
    void (*fill)(const struct glow_self *self, const struct glow_param *p, uint64_t seed,
                 double *dst, int64_t n);
};

/* ---------------------------------------------------------------- operations
 * Codes are append-only and their meaning is frozen. Elementwise operations broadcast: shapes are
 * aligned at the right, a missing or size-1 axis stretches; unbatched stretches over the batch.
 * REAL with HI gives HI. */

enum {  /* unary */
    GLOW_NEG = 1, GLOW_EXP, GLOW_LOG, GLOW_SQRT, GLOW_ABS, GLOW_SQUARE, GLOW_RECIP,
    GLOW_SIGMOID, GLOW_LOG_SIGMOID, GLOW_SOFTPLUS, GLOW_TANH, GLOW_RELU,
    GLOW_EXPM1, GLOW_LOG1P, GLOW_SIN, GLOW_COS,
    GLOW_FLOOR, GLOW_SIGN,              /* gradient 0 */
    GLOW_STOP,                          /* the value; gradient 0 */
    GLOW_UNARY_END
};
enum {  /* binary; comparisons give BOOL and have no gradient */
    GLOW_ADD = 1, GLOW_SUB, GLOW_MUL, GLOW_DIV, GLOW_POW,
    GLOW_MIN, GLOW_MAX,                 /* gradient to the chosen side; to the first when equal */
    GLOW_LT, GLOW_LE, GLOW_GT, GLOW_GE, GLOW_EQ,
    GLOW_BINARY_END
};
enum { GLOW_SUM = 1, GLOW_MEAN, GLOW_REDUCE_MAX, GLOW_REDUCE_MIN, GLOW_LOGSUMEXP };    /* reduce */
enum { GLOW_UNIFORM = 1 /* [0,1) */, GLOW_GAUSS = 2 /* N(0,1) */, GLOW_SIGNS = 3 /* -1 or 1 */ };
enum { GLOW_ORDER_BLOCK = 0 /* (dy,dx,c) */, GLOW_ORDER_CHANNEL = 1 /* (c,dy,dx) */ };  /* squeeze */
enum { GLOW_TRANSPOSE_A = 1, GLOW_TRANSPOSE_B = 2 };                                   /* matmul */
enum {  /* linalg; matrices are (n,n), unbatched; computed in float64 */
    GLOW_LU_COMPOSE = 1,    /* in: lu (n,n) strict triangles, log_s (n), perm (n), sign (n);
                             * out[0] = W = P (L+I) (U + diag(sign exp log_s)), out[1] = W^-1.
                             * Row i of the product is row perm[i] of W. */
    GLOW_SLOGDET = 2,       /* in: A; out[0] = log|det A|, HI scalar */
    GLOW_INVERSE = 3        /* in: A; out[0] = A^-1 */
};
enum { GLOW_ACT_NONE = 0, GLOW_ACT_RELU = 1, GLOW_ACT_TANH = 2, GLOW_ACT_SIGMOID = 3 };
enum { GLOW_EDGE_BIAS = 1 };            /* the border carries an extra input channel that is 1 there */

/* One stage of conv_chain: x <- act((conv_k(x, w) + b) * exp(logscale * logs)); stride 1, the size of
 * the image is kept (zero padding ksize/2, ksize odd). w is (out, in, k, k); with EDGE_BIAS
 * (out, in + 1, k, k), and the extra input channel, the last, is 0 inside and 1 on the padding. */
struct glow_stage {
    glow_value w, b, logs;              /* b, logs: (out), or absent */
    double logscale;
    int32_t ksize, flags, act, reserved;
};

/* A call of a child network. Ports in the order of the network's port list. */
struct glow_net_call {
    uint32_t size, n_in, n_out, reserved;
    const glow_value *in;
    const struct glow_type *out_type;   /* what the caller wants; batched */
    glow_value *out;                    /* filled by the network */
};

/* A call of a custom operation of the same plug-in, by its id. */
struct glow_custom_call {
    uint32_t size, n_in, n_out, n_attr;
    const char *id;
    const glow_value *in;               /* absent is allowed */
    const double *attr;                 /* plain numbers: constants of the operation */
    glow_value *out;
};

/* The operation table. All functions are [build]. Axes count from 0 in the shape of one sample. */
struct glow_ops {
    uint32_t size, minor;

    /* Records an error of the current instance (the first one wins); returns the error handle. */
    glow_value (*fail)(struct glow_graph *, const char *why);
    /* The type of v; returns 0, or GLOW_EINVAL for absent and error handles (*t is then zeroed). */
    int32_t (*type)(struct glow_graph *, glow_value v, struct glow_type *t);
    /* Bits of GLOW_PHASE_*: what kind of program is being described. */
    uint32_t (*phase)(struct glow_graph *);

    /* Leaves. */
    glow_value (*constant)(struct glow_graph *, double c);                       /* scalar */
    glow_value (*array)(struct glow_graph *, const struct glow_type *, const double *data);
    glow_value (*param)(struct glow_graph *, const struct glow_self *, const struct glow_param *);
    /* Data-dependent initialisation: in an INIT program `param` takes `value` for good, and the new
     * value is returned; in any other program `param` is returned and `value` ignored. */
    glow_value (*init_from)(struct glow_graph *, glow_value param, glow_value value);
    /* Random numbers keyed by seed, step, row, instance, slot and how often the slot was asked for:
     * the same draw in every program of a step, whatever else the graph holds. Unbatched types give
     * one draw for all samples. */
    glow_value (*random)(struct glow_graph *, const struct glow_self *, const char *slot,
                         uint32_t dist, const struct glow_type *);

    /* Elementwise. */
    glow_value (*unary)(struct glow_graph *, uint32_t code, glow_value a);
    glow_value (*binary)(struct glow_graph *, uint32_t code, glow_value a, glow_value b);
    glow_value (*where)(struct glow_graph *, glow_value cond, glow_value a, glow_value b);
    glow_value (*cast)(struct glow_graph *, glow_value a, uint32_t dtype);       /* REAL, HI */

    /* Reductions over the axes of a bit mask, which stay as size 1; all axes gives rank 0. */
    glow_value (*reduce)(struct glow_graph *, uint32_t code, glow_value a, uint32_t axes);
    glow_value (*cumsum)(struct glow_graph *, glow_value a, int32_t axis);
    glow_value (*softmax)(struct glow_graph *, glow_value a, int32_t axis);
    /* The mean over the samples: the only operation that mixes them. Meant for initialisation. */
    glow_value (*batch_mean)(struct glow_graph *, glow_value a);

    /* Layout. */
    glow_value (*reshape)(struct glow_graph *, glow_value a, int32_t rank, const int64_t *dim);
    glow_value (*transpose)(struct glow_graph *, glow_value a, const int32_t *axes);
    glow_value (*broadcast)(struct glow_graph *, glow_value a, int32_t rank, const int64_t *dim);
    /* Elements start, start+step, ... (n of them) of one axis. */
    glow_value (*slice)(struct glow_graph *, glow_value a, int32_t axis, int64_t start,
                        int64_t step, int64_t n);
    glow_value (*concat)(struct glow_graph *, int32_t axis, uint32_t n, const glow_value *parts);
    glow_value (*pad)(struct glow_graph *, glow_value a, int32_t axis, int64_t before, int64_t after);
    /* Elements index[0..n) of one axis; a constant list, repeats allowed. */
    glow_value (*take)(struct glow_graph *, glow_value a, int32_t axis, int64_t n,
                       const int64_t *index);
    /* (C,H,W) -> (4C,H/2,W/2) and back; order is GLOW_ORDER_*. */
    glow_value (*space_to_depth)(struct glow_graph *, glow_value a, int32_t order);
    glow_value (*depth_to_space)(struct glow_graph *, glow_value a, int32_t order);

    /* Products. matmul: (..,M,K) x (..,K,N), leading axes broadcast. */
    glow_value (*matmul)(struct glow_graph *, glow_value a, glow_value b, uint32_t flags);
    /* y[:,p] = W x[:,p] at each position of (C,H,W) or for a row (C); transposed != 0 uses W^T. */
    glow_value (*matmul_channels)(struct glow_graph *, glow_value x, glow_value w, int32_t transposed);
    /* Stride 1, same size; w is (out, in, kh, kw) with odd kernel sizes; flags: GLOW_EDGE_BIAS. */
    glow_value (*conv2d)(struct glow_graph *, glow_value x, glow_value w, uint32_t flags);
    /* n stages as one operation; stage_size = sizeof(struct glow_stage). */
    glow_value (*conv_chain)(struct glow_graph *, glow_value x, uint32_t n,
                             const struct glow_stage *, uint32_t stage_size);
    void (*linalg)(struct glow_graph *, uint32_t code, const glow_value *in, glow_value *out);

    /* Other plug-ins. `slot` is the key of a CHILD option. Outputs are error handles on failure. */
    void (*net)(struct glow_graph *, const struct glow_self *, const char *slot,
                struct glow_net_call *);
    void (*custom)(struct glow_graph *, const struct glow_self *, struct glow_custom_call *);
};
struct glow_graph { const struct glow_ops *op; };        /* the rest is the host's */

enum { GLOW_PHASE_TRAIN = 1, GLOW_PHASE_INIT = 2, GLOW_PHASE_SAMPLE = 4 };

/* ---------------------------------------------------------------- flows */

/* What a layer adds to the objective, per sample (rank 0) or for all samples (unbatched). */
enum {
    GLOW_LOGDET = 1,        /* exact log |det dy/dx| of the direction being described */
    GLOW_LOGDET_EST = 2,    /* an unbiased estimate of it */
    GLOW_BOUND = 4,         /* a lower bound's share, as from variational dequantisation */
    GLOW_LOGP = 8,          /* log-density of something that left the flow */
    GLOW_PENALTY = 16,      /* added to the training loss only */
    GLOW_METRIC = 32        /* reported only */
};

/* All functions are [build]. */
struct glow_flow_ops {
    uint32_t size, minor;
    glow_value (*x)(struct glow_flow *);
    void (*set_x)(struct glow_flow *, glow_value);
    /* Adds a term, write-only; a layer never sees a running sum. */
    void (*term)(struct glow_flow *, uint32_t kind, const char *name, glow_value);
    /* The number of positions of x that share channels: H*W of (C,H,W), 1 for a row. */
    glow_value (*positions)(struct glow_flow *);
    /* forward: z leaves the flow as a latent. The prior is that of the CHILD option `prior`, or, if
     * NULL, the model's prior of that name. cond (absent allowed) is what the prior may depend on. */
    void (*emit)(struct glow_flow *, const char *name, const char *prior, glow_value z,
                 glow_value cond);
    /* inverse: the latent comes back, given or drawn from the prior. */
    glow_value (*take)(struct glow_flow *, const char *name, const char *prior, glow_value cond);
    /* keep in forward, kept in restore: what restore needs and y does not hold. */
    void (*keep)(struct glow_flow *, const char *slot, glow_value);
    glow_value (*kept)(struct glow_flow *, const char *slot);
};
struct glow_flow { const struct glow_flow_ops *op; };    /* the rest is the host's */

/* ---------------------------------------------------------------- instances and the host */

struct glow_self {
    const struct glow_host *host;
    const char *path;                   /* "level.0.step.3.actnorm" */
    const void *data;                   /* what `create` returned; NULL without create */
};

struct glow_host {
    uint32_t size, minor;
    /* A later table by its id ("control/1"), or NULL when this host has none. [any] */
    const void *(*get)(const struct glow_host *, const char *id);
    /* Values of the instance's options, validated and with defaults. A key that the descriptor does
     * not list is reported as an error of the plug-in and reads as 0 / "". [main] [build] [fill] [io] */
    int64_t (*opt_int)(const struct glow_self *, const char *key);       /* INT, BOOL */
    double (*opt_real)(const struct glow_self *, const char *key);       /* REAL, INT */
    const char *(*opt_string)(const struct glow_self *, const char *key);/* STRING, ENUM, PATH; CHILD: id, "" = none */
    int64_t (*opt_count)(const struct glow_self *, const char *key);     /* length of a list */
    double (*opt_real_at)(const struct glow_self *, const char *key, int64_t i);
    const char *(*opt_string_at)(const struct glow_self *, const char *key, int64_t i);
    /* Records why a callback is about to return an error code. [any] */
    void (*fail)(const struct glow_self *, const char *why);
    void (*log)(const struct glow_self *, int32_t level /* 0 info, 1 warning */, const char *msg); /* [any] */
    /* Long work in an [io] or [main] callback; returns non-zero when it should stop. */
    int32_t (*progress)(const struct glow_self *, int64_t done, int64_t total);
    /* n random numbers, a pure function of (seed, stream): dist is GLOW_UNIFORM or GLOW_GAUSS. [any] */
    void (*random)(uint64_t seed, uint64_t stream, uint32_t dist, double *out, int64_t n);
    /* A directory for caches of decoded data, created on demand; "" when there is none. [main] [io] */
    const char *(*cache_dir)(const struct glow_self *);
};

/* ---------------------------------------------------------------- what a plug-in offers */

enum { GLOW_LAYER = 1, GLOW_NET = 2, GLOW_PRIOR = 3, GLOW_DATASET = 4, GLOW_CUSTOM = 5 };

/* The frozen head of every descriptor. */
struct glow_desc {
    uint32_t size, kind, schema, flags; /* size of the whole descriptor; version of its options */
    const char *id, *summary;
    const struct glow_option *options;
    uint32_t n_options, option_size;    /* option_size = sizeof(struct glow_option), also when n = 0 */
};

/* Is inverse(forward(x)) = x? Is forward(inverse(y)) = y? */
enum { GLOW_INV_NONE = 0, GLOW_INV_APPROX = 1, GLOW_INV_EXACT = 2 };
enum { GLOW_SLOW_FORWARD = 1, GLOW_SLOW_INVERSE = 2, GLOW_STOCHASTIC = 4 };
struct glow_traits {
    uint32_t size, left, right, flags;  /* left: inverse o forward; right: forward o inverse */
    double rtol;                        /* of APPROX */
};

struct glow_create {
    uint32_t size, reserved;
    struct glow_type in;                /* what arrives: for a layer the type of x; else zero */
};

/* A layer: y = forward(x), x = inverse(y), with terms. */
struct glow_layer {
    struct glow_desc head;
    /* Checks options against the shape, refines the traits (preset to `traits`), and may leave constant
     * data in *data. Pure; may be called again for another shape. May be NULL. [main] */
    int32_t (*create)(const struct glow_self *, const struct glow_create *, struct glow_traits *,
                      void **data);
    void (*destroy)(void *data);
    void (*forward)(const struct glow_self *, struct glow_graph *, struct glow_flow *);
    void (*inverse)(const struct glow_self *, struct glow_graph *, struct glow_flow *); /* NULL: none */
    /* Rebuilds x from y while training without storing x; NULL: inverse serves. */
    void (*restore)(const struct glow_self *, struct glow_graph *, struct glow_flow *);
    struct glow_traits traits;          /* the usual case; {sizeof, EXACT, EXACT} for a bijection */
};

/* A coupling network. Ports NULL: one input "x", one output "y". */
enum { GLOW_NET_AUTOREGRESSIVE = 1, GLOW_NET_LIPSCHITZ = 2, GLOW_NET_MONOTONE = 4, GLOW_NET_IMAGE = 8,
       GLOW_NET_ROW = 16 };
enum { GLOW_PORT_IN = 0, GLOW_PORT_OUT = 1 };
struct glow_port { const char *name; uint32_t direction, reserved; };
struct glow_net {
    struct glow_desc head;
    int32_t (*create)(const struct glow_self *, const struct glow_create *, void **data);
    void (*destroy)(void *data);
    void (*forward)(const struct glow_self *, struct glow_graph *, struct glow_net_call *);
    const struct glow_port *ports;
    uint32_t n_ports, port_size;
    uint64_t properties;                /* GLOW_NET_* */
};

/* A density over latents. Every callback sets call->out. */
struct glow_prior_call {
    uint32_t size, reserved;
    struct glow_type type;              /* of the latent */
    glow_value z;                       /* log_density, standardise: the latent; restore: the noise */
    glow_value cond;                    /* what emit and take named, or absent */
    glow_value temperature;             /* sample: a scalar; the prior defines what it does */
    glow_value out;
};
struct glow_prior {
    struct glow_desc head;
    int32_t (*create)(const struct glow_self *, const struct glow_create *, void **data);
    void (*destroy)(void *data);
    void (*log_density)(const struct glow_self *, struct glow_graph *, struct glow_prior_call *);
    void (*sample)(const struct glow_self *, struct glow_graph *, struct glow_prior_call *);
    /* A pair, or both NULL: the latent as standard noise and back. encode and decode use it. */
    void (*standardise)(const struct glow_self *, struct glow_graph *, struct glow_prior_call *);
    void (*restore)(const struct glow_self *, struct glow_graph *, struct glow_prior_call *);
};

/* A custom operation: own kernels, with a decomposition into core operations as the fallback, the
 * source of gradients and the test oracle. */
struct glow_array {                     /* dense, C order; batched: n samples in a row */
    void *data;                         /* NULL for an absent input or an unwanted output */
    int64_t n;                          /* samples; 1 when unbatched */
    struct glow_type type;              /* dtype is GLOW_F32 or GLOW_F64 here */
};
struct glow_kernel_call {
    uint32_t size, n_in, n_out, n_attr;
    const struct glow_array *in, *out;
    const double *attr;
    void *scratch;                      /* of the size that `scratch` asked for, 64-byte aligned */
};
struct glow_custom_infer {
    uint32_t size, n_in, n_out, n_attr;
    const struct glow_type *in;         /* an absent input has rank -1 */
    const double *attr;
    struct glow_type *out;
    char *why; size_t why_size;         /* the reason of a refusal */
};
struct glow_custom_vjp {                /* gradients: given in, out and dout, set din (absent = zero) */
    uint32_t size, n_in, n_out, n_attr;
    const glow_value *in, *out, *dout;
    const double *attr;
    glow_value *din;
};
/* A kernel for a GPU (minor 1) is device code in the plug-in's own file: bytes that nvcc made, in a
 * constant (GLOW_EMBED), so that the plug-in links no CUDA. The host loads them while it builds a
 * program, and launches `entry`, an extern "C" kernel. Its parameters take 8 bytes each: a pointer
 * for every input and output (dense, C order; NULL where absent or unwanted), one to scratch memory
 * if `launch` asks for some, then int64_t, then the attributes as double:
 *     extern "C" __global__ void
 *     softclip_f32(const float *x, float *y, float *slope, int64_t n, double r)
 * A device that the bytes hold no code for gets the decomposition, and the user a warning. */
#define GLOW_MAX_INTEGERS 16
struct glow_launch {                    /* preset: a thread for each element of the first output, in */
    uint32_t size, n_integers;          /* blocks of 256, and one integer, the number of elements */
    uint32_t grid[3], block[3];         /* blocks, threads of a block: x, y, z */
    uint64_t shared, scratch;           /* bytes: dynamic shared memory of a block; for all blocks */
    int64_t integers[GLOW_MAX_INTEGERS];
    char *why; size_t why_size;         /* the reason of a refusal */
};
struct glow_kernel {
    const char *backend;                /* "cpu", "cuda" */
    uint32_t dtype, reserved;           /* GLOW_F32 or GLOW_F64 */
    int32_t (*run)(const struct glow_kernel_call *);                        /* pure [exec] */
    int64_t (*scratch)(const struct glow_custom_infer *);                   /* bytes; NULL: none [build] */
    /* Minor 1, in place of run and scratch, for "cuda". */
    const void *image, *image_end;      /* fatbin, cubin or PTX; NULL: none */
    const char *entry;
    /* Changes what is preset, by shapes and attributes alone: `data` is NULL, an absent input has rank
     * -1. GLOW_ENOTSUP: not for these shapes, decompose. Pure; NULL: as preset. [build] [exec] */
    int32_t (*launch)(const struct glow_kernel_call *, struct glow_launch *);
};
struct glow_custom {
    struct glow_desc head;
    int32_t (*infer)(struct glow_custom_infer *);
    void (*decompose)(const struct glow_self *, struct glow_graph *, struct glow_custom_call *);
    void (*vjp)(const struct glow_self *, struct glow_graph *, struct glow_custom_vjp *); /* NULL: by decompose */
    const struct glow_kernel *kernels;
    uint32_t n_kernels, kernel_size;
};

/* A dataset: named columns with random access by row. */
enum { GLOW_ROLE_X = 1, GLOW_ROLE_CONTEXT, GLOW_ROLE_LABEL, GLOW_ROLE_TARGET, GLOW_ROLE_MASK,
       GLOW_ROLE_WEIGHT };
enum { GLOW_DATA_SERIAL = 1,            /* read is called from one thread at a time */
       GLOW_DATA_STREAM = 2 };          /* no random access: rows come in order (refused by this host) */
struct glow_column {
    const char *name, *unit;
    const char *const *names;           /* class names, or NULL */
    uint32_t dtype, role, n_names, reserved;
    struct glow_type type;              /* one row; dtype and batched are ignored */
    double lo, hi;                      /* value range. U8 columns of role X reach the flow as
                                         * (v - lo) / (hi - lo); others as they are */
};
struct glow_data_info {
    uint32_t size, column_size, n_columns, flags;
    const struct glow_column *columns;  /* lives until close */
    int64_t count;                      /* rows; INT64_MAX = endless, row = function of its index */
    uint64_t fingerprint;               /* of the content, or 0 */
};
struct glow_data_open {
    uint32_t size, reserved;
    const char *split;                  /* "train", "valid" or "test" */
    struct glow_type want;              /* what the model takes, rank 0 = anything: resize to this */
    uint64_t seed;                      /* for procedural data */
};
struct glow_data_read {
    uint32_t size, n;
    const int64_t *index;               /* n row numbers */
    const uint64_t *key;                /* per row: hash of seed, epoch and index, for augmentation */
    void *const *dst;                   /* per column: n rows, dense; NULL = not wanted */
    void *worker;                       /* from worker_open, or NULL */
};
struct glow_dataset {
    struct glow_desc head;
    int32_t (*open)(const struct glow_self *, const struct glow_data_open *, void **state,
                    struct glow_data_info *);                               /* [main] */
    void (*close)(void *state);                                             /* [main] */
    int32_t (*read)(const struct glow_self *, void *state, const struct glow_data_read *); /* [io] */
    int32_t (*worker_open)(const struct glow_self *, void *state, void **worker);  /* NULL: none [io] */
    void (*worker_close)(void *state, void *worker);                               /* [io] */
};

struct glow_plugin {
    uint32_t size, minor;               /* minor: the newest ABI minor that this plug-in needs */
    const char *name, *version, *license;
    const struct glow_desc *const *descs;               /* NULL-terminated */
};
#define GLOW_PLUGIN_SYMBOL "glow_plugin_v1"
#if defined(__GNUC__)
#define GLOW_EXPORT __attribute__((visibility("default")))
#else
#define GLOW_EXPORT
#endif

/* ---------------------------------------------------------------- conveniences
 * Inline, compiled into the plug-in; nothing below is part of the binary interface. */

#define GLOW_COUNT(a) ((uint32_t)(sizeof(a) / sizeof((a)[0])))
/* The head of a descriptor: struct type, kind, schema, id, summary, options array, their number. */
#define GLOW_HEAD(type, kind, schema, id, summary, options, n) \
    { sizeof(type), kind, schema, 0, id, summary, options, n, sizeof(struct glow_option) }
/* A file as constant bytes, from name to name_end; the name of the file is that of the command line.
 * For GNU C and ELF; stands outside functions. */
#define GLOW_EMBED(name, file) \
    __asm__(".pushsection .rodata\n.balign 64\n.globl " #name ", " #name "_end\n" \
            ".hidden " #name ", " #name "_end\n" #name ":\n.incbin \"" file "\"\n" \
            #name "_end:\n.byte 0\n.popsection\n"); \
    extern __attribute__((visibility("hidden"))) const unsigned char name[], name##_end[]
#define GLOW_BIJECTION { sizeof(struct glow_traits), GLOW_INV_EXACT, GLOW_INV_EXACT, 0, 0.0 }

static inline glow_value glow_add(struct glow_graph *g, glow_value a, glow_value b) { return g->op->binary(g, GLOW_ADD, a, b); }
static inline glow_value glow_sub(struct glow_graph *g, glow_value a, glow_value b) { return g->op->binary(g, GLOW_SUB, a, b); }
static inline glow_value glow_mul(struct glow_graph *g, glow_value a, glow_value b) { return g->op->binary(g, GLOW_MUL, a, b); }
static inline glow_value glow_div(struct glow_graph *g, glow_value a, glow_value b) { return g->op->binary(g, GLOW_DIV, a, b); }
static inline glow_value glow_num(struct glow_graph *g, double c) { return g->op->constant(g, c); }
static inline glow_value glow_add_num(struct glow_graph *g, glow_value a, double c) { return glow_add(g, a, glow_num(g, c)); }
static inline glow_value glow_scale(struct glow_graph *g, glow_value a, double c) { return glow_mul(g, a, glow_num(g, c)); }
static inline glow_value glow_neg(struct glow_graph *g, glow_value a) { return g->op->unary(g, GLOW_NEG, a); }
static inline glow_value glow_exp(struct glow_graph *g, glow_value a) { return g->op->unary(g, GLOW_EXP, a); }
static inline glow_value glow_log(struct glow_graph *g, glow_value a) { return g->op->unary(g, GLOW_LOG, a); }
static inline glow_value glow_unary(struct glow_graph *g, uint32_t code, glow_value a) { return g->op->unary(g, code, a); }
static inline glow_value glow_binary(struct glow_graph *g, uint32_t code, glow_value a, glow_value b) { return g->op->binary(g, code, a, b); }
/* The sum over all axes of a sample: a scalar per sample. */
static inline glow_value glow_sum_all(struct glow_graph *g, glow_value a) { return g->op->reduce(g, GLOW_SUM, a, UINT32_MAX); }
static inline glow_value glow_sum(struct glow_graph *g, glow_value a, uint32_t axes) { return g->op->reduce(g, GLOW_SUM, a, axes); }

/* The type of a value; all zero (rank 0, no dtype) for absent and error handles. */
static inline struct glow_type glow_type_of(struct glow_graph *g, glow_value v)
{
    struct glow_type t;
    g->op->type(g, v, &t);
    return t;
}
/* The number of channels (the first axis), or 0. */
static inline int64_t glow_channels(struct glow_graph *g, glow_value v)
{
    struct glow_type t = glow_type_of(g, v);
    return t.rank > 0 ? t.dim[0] : 0;
}
/* An unbatched REAL type of up to four dimensions. */
static inline struct glow_type glow_real_type(int32_t rank, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
    struct glow_type t = { GLOW_REAL, 0, 0, 0, { 0, 0, 0, 0, 0, 0, 0, 0 } };
    t.rank = rank;
    t.dim[0] = d0; t.dim[1] = d1; t.dim[2] = d2; t.dim[3] = d3;
    return t;
}
/* A parameter with one number per channel of x, shaped (C,1,1) or (C) so that it broadcasts. */
static inline glow_value glow_channel_param(struct glow_graph *g, const struct glow_self *self,
                                            const char *name, const char *group, glow_value x)
{
    struct glow_type t = glow_type_of(g, x);
    struct glow_param p = { sizeof(struct glow_param), 0, GLOW_INIT_ZERO, 0, NULL, NULL,
                            { GLOW_REAL, 0, 0, 0, { 0, 1, 1, 1, 1, 1, 1, 1 } }, 0, 0, NULL };
    p.name = name; p.group = group;
    p.type.rank = t.rank; p.type.dim[0] = t.dim[0];
    return g->op->param(g, self, &p);
}
/* Runs the child network of option `slot` on x; the output has x's shape but `channels` channels. */
static inline glow_value glow_run_net(struct glow_graph *g, const struct glow_self *self,
                                      const char *slot, glow_value x, int64_t channels)
{
    struct glow_type t = glow_type_of(g, x);
    glow_value y = { 0 };
    struct glow_net_call c = { sizeof(struct glow_net_call), 1, 1, 0, NULL, NULL, NULL };
    t.dim[0] = channels;
    c.in = &x; c.out_type = &t; c.out = &y;
    g->op->net(g, self, slot, &c);
    return y;
}

#ifdef __cplusplus
}
#endif
#endif
