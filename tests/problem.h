/* problem.h - a step of a kernel and the same for the reference, for test_products.c: operands in
 * any layout, in memory full of NaN, run with every instruction set, with 1, 2 and 3 threads, or on
 * the device that GLOW_BACKEND names. */
#ifndef TESTS_PROBLEM_H
#define TESTS_PROBLEM_H
#include "kernels_reference.h"

enum { MOST = 80 };   /* tensors of a step */
enum { THREADS = 3 }; /* the most that are tried */

enum layout {
    DENSE,
    SPREAD /* free channel and batch strides */,
    REVERSED /* last axis outermost */
};

/* What is tried; the fixtures below set it. */
extern struct tried {
    const char *sets[4]; /* instruction sets of this processor */
    int n_sets;
    const struct backend *processor; /* that the environment names */
    const struct backend *backend;   /* that, or its variant for bf16 */
    int32_t dtype;
    double bound; /* of errors, relative to the largest value */
    int by_norm;  /* of errors and values as a whole instead; no activation is a ReLU */
    int whole;    /* values are small whole numbers: bf16 represents them and their sums */
    double aside; /* by which they lie beside them */
    struct engine *engines[THREADS]; /* with 1, 2 and 3 threads */
} tried;
void problem_f32(void);
void problem_f64(void);
void problem_bf16(void);
void problem_whole(void); /* bf16 where nothing is rounded: not a bit may differ */
void problem_close(void);
/* Takes an instruction set; whether the processor has it. */
int problem_choose(const char *set);

struct pair {
    struct tensor exact; /* f64, dense: for the reference */
    struct tensor real;  /* dtype, laid out: for the kernel */
    void *block;
    size_t block_size;
};
struct pair pair_new(int rank, const int64_t *dim);
/* With random values of that size. */
struct pair pair_input(int rank, const int64_t *dim, double scale);
void pair_move(struct pair *, enum layout); /* the same values in another layout */
void pair_free(struct pair *);
double pair_get(const struct tensor *, int64_t number);
void pair_put(const struct tensor *, int64_t number, double x);

/* A step of the kernel and the same for the reference. */
struct problem {
    int op, n_in, n_out, n_ai, n_ad;
    struct pair in[MOST], out[MOST];
    int64_t ai[1 + 3 * 16];
    double ad[16];
    uint64_t unwanted; /* bit i: output i */
    int n_known;       /* outputs that have a reference */
};
struct step problem_step(const struct problem *, int exact, struct tensor *in, struct tensor *out);
void problem_reference(const struct problem *);
void problem_run(const struct problem *, struct engine *);
/* The kernel with one thread agrees with the reference, and with more threads, or a second time on
 * a device, bit by bit with itself. */
void problem_check_kernel(struct problem *, const char *what);
/* Against the reference in all layouts up to `most`, with all instruction sets. */
void problem_check(struct problem *, enum layout most, const char *what);
void problem_free(struct problem *);
#endif
