/* fusion.c - what a flow of elementwise maths costs beside the memory that it must touch: the test
 * layer `crease`, 36 operations for each element, prior included, on 64 images of 64x64x3. The
 * floor is the time to read a program's inputs and write its outputs once, at the speed of copying
 * memory that no cache holds, measured in the same run. (The images, 3 MB, do stay in the last
 * cache of most processors; how fast that copies is printed beside.)
 *
 *   bench/fusion CREASE.SO [THREADS [SECONDS]]; GLOW_CPU chooses the instruction set */
#include "config.h"
#include "program.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 64, ELEMENTS = BATCH * 3 * 64 * 64 };

static double seconds_per_line = 0.5;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(glow_status status)
{
    if (status == GLOW_OK) return;
    fprintf(stderr, "%s\n", fail_message());
    exit(1);
}

/* Bytes read and written in a second, by copying n floats. */
static double copy_speed(const struct model *m, int64_t n)
{
    void *data[2];
    struct tensor t[2];
    for (int k = 0; k < 2; k++) {
        check(m->backend->alloc(m->engine, (size_t)n * sizeof(float), "bench", &data[k]));
        memset(data[k], 0, (size_t)n * sizeof(float));
        t[k] = (struct tensor){
            .data = data[k], .dtype = DT_F32, .rank = 2, .dim = { 1, n }, .stride = { n, 1 }
        };
    }
    struct step copy = { .op = OP_COPY, .n_in = 1, .n_out = 1, .in = &t[0], .out = &t[1] };
    struct run run = { .engine = m->engine };
    copy.run = m->backend->kernel(OP_COPY, DT_F32);
    double best = INFINITY, stop = now() + seconds_per_line;
    for (int i = 0; i < 3 || now() < stop; i++) {
        double begin = now();
        copy.run(&copy, &run);
        best = fmin(best, now() - begin);
    }
    for (int k = 0; k < 2; k++) m->backend->release(m->engine, data[k]);
    return 2 * (double)n * sizeof(float) / best;
}

static int64_t port_bytes(const struct program_port *ports, int n)
{
    int64_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += tensor_count(&ports[i].tensor) * (int64_t)dtype_size(ports[i].tensor.dtype);
    return bytes;
}

static void measure(struct model *m, enum program_kind kind, const char *name, double speed)
{
    struct program_options o = { .kind = kind, .batch = BATCH };
    struct program *p;
    check(program_make(&p, m, &o));
    for (int k = 0; k < p->n_inputs; k++) {
        float *x = p->inputs[k].tensor.data;
        for (int64_t i = 0; i < tensor_count(&p->inputs[k].tensor); i++)
            x[i] = (float)((uint32_t)(i * 2654435761u) >> 8) / 16777216.0f - 0.5f;
    }
    double best = INFINITY, stop = now() + seconds_per_line;
    for (int i = 0; i < 3 || now() < stop; i++) {
        double begin = now();
        check(program_run(p, 1, 1, 0));
        best = fmin(best, now() - begin);
    }
    int64_t operations = 0, bytes = port_bytes(p->inputs, p->n_inputs);
    bytes += port_bytes(p->outputs, p->n_outputs);
    for (int64_t i = 0; i < p->n_steps; i++) {
        const struct step *s = &p->steps[i];
        bool large = s->n_in > 0 && tensor_count(&s->in[0]) == ELEMENTS;
        operations += large ? s->op == OP_FUSED ? s->ai[0] : 1 : 0;
    }
    printf("%-18s %6.1f MB, floor %6.3f ms, %6.3f ms, %5.2f of the floor; %3d operations, "
           "%.3f ns each for 64 elements\n",
           name, 1e-6 * (double)bytes, 1e3 * (double)bytes / speed, 1e3 * best,
           best * speed / (double)bytes, (int)operations,
           1e9 * best / ELEMENTS * 64 / (double)operations);
    program_free(p);
}

int main(int argc, char **argv)
{
    struct registry *registry;
    struct config *config;
    struct model *m;
    if (argc < 2) {
        fprintf(stderr, "usage: %s CREASE.SO [THREADS [SECONDS]]\n", argv[0]);
        return 2;
    }
    if (argc > 3) seconds_per_line = atof(argv[3]);
    check(registry_open(&registry, NULL));
    check(registry_load_file(registry, argv[1]));
    check(config_parse(&config,
                       "model: { input = [64, 64, 3]; flow = ({ layer = \"crease\"; }); };",
                       "fusion.cfg"));
    check(model_new(&m, config, registry,
                    &(struct model_options){
                        .threads = argc > 2 ? atoi(argv[2]) : 1, .real = DT_F32, .seed = 1 }));
    double speed = copy_speed(m, 1 << 26), cached = copy_speed(m, ELEMENTS);
    printf("kernels %s, %d thread%s; copying reads and writes %.1f GB/s, of 6.3 MB %.1f GB/s\n",
           m->backend->kernels(m->engine), m->backend->threads(m->engine),
           m->backend->threads(m->engine) == 1 ? "" : "s", 1e-9 * speed, 1e-9 * cached);
    measure(m, PROGRAM_ENCODE, "encode", speed);
    measure(m, PROGRAM_DECODE, "decode", speed);
    measure(m, PROGRAM_TRAIN, "train", speed);
    model_free(m);
    registry_free(registry);
    return 0;
}
