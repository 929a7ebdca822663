/* kernels_run.h - runs one kernel on made-up operands, in any layout, and beside it the reference.
 */
#ifndef TESTS_KERNELS_RUN_H
#define TESTS_KERNELS_RUN_H
#include "backend.h"

/* Shapes read "2x3x4x5, 1x3x1x1 -> 2x3x4x5": inputs, then outputs, "-" for an absent one. A letter
 * behind an input tells how it lies in memory (the values are the same): t  the last two axes
 * swapped        s  every second element along the last axis r  the last axis backwards          p
 * planes (or rows) of every second channel of a wider tensor b  one sample, stretched over the
 * batch axis by stride 0     e  the same for the last axis and "d" behind any one that it is f64
 * even where the case runs in f32. */
struct kernel_case {
    int op;
    const char *shapes;
    int64_t ai[40];
    double ad[4];
    int special; /* NaN, infinities, zeros, denormals and limits among the values */
};

enum { CASE_OPERANDS = 24 };
struct operand {
    struct tensor tensor; /* as the kernel sees it */
    char *storage;        /* with guards at both ends */
    size_t bytes;
    double *value; /* dense: of an input, or wanted of an output */
};
struct case_run {
    const struct kernel_case *of;
    int32_t dtype;
    int n_in, n_out;
    struct operand operand[CASE_OPERANDS]; /* inputs, then outputs */
    struct tensor tensor[CASE_OPERANDS];
    struct step step;
    struct run run;
    char *scratch;
    size_t scratch_bytes;
};

/* Makes the operands; inputs are floats, whatever the type, so that the reference sees the same. */
void case_prepare(struct case_run *, const struct kernel_case *, int32_t dtype);
/* Runs the kernel of that engine. Outputs and scratch hold NaN before. Fails the test when a guard
 * around an output or the scratch is overwritten. in_place >= 0: the output is that input's memory.
 */
void case_execute(struct case_run *, struct engine *, int in_place);
/* Fails the test where an output is not what the reference says. */
void case_compare(const struct case_run *, const char *set);
void case_free(struct case_run *);
/* "add f32 2x3, 1x3 -> 2x3", for messages. */
const char *case_text(const struct case_run *);

/* The backend under test: the CPU's, or the one that GLOW_BACKEND names. */
const struct backend *kernels_backend(void);
/* Names of the instruction sets of this machine, NULL-terminated; of another backend, its name. */
const char *const *instruction_sets(void);
/* An engine of that backend with that set. */
struct engine *open_engine(const char *set, int threads);
#endif
