/* random.c - random numbers by counter: element i of a sample is a pure function of the run's seed
 * and step, the sample's row in the global batch, the value's own key, and i. Block b of four words
 * serves elements 4b .. 4b+3. The numbers are made in f64 and are the same in f32 up to rounding.
 */
#include "kernels.h"
#include "../../philox.h"

enum { BLOCKS_PER_TASK = 256 };

struct draw {
    real *out;
    int64_t kind, row, elements; /* elements of one sample */
    int64_t blocks, tasks_per_sample;
    uint64_t step;
    uint32_t key[2];
};

static void draw_block(const struct draw *d, uint64_t block, uint32_t row, double x[4])
{
    uint32_t counter[4] = { (uint32_t)block, row, (uint32_t)d->step,
                            (uint32_t)(d->step >> 32) ^ (uint32_t)(block >> 32) };
    struct philox word = philox(counter, d->key);
    switch (d->kind) {
    case GLOW_GAUSS:
        philox_gauss(word.v[0], word.v[1], x);
        philox_gauss(word.v[2], word.v[3], x + 2);
        break;
    case GLOW_SIGNS:
        for (int i = 0; i < 4; i++) x[i] = word.v[i] >> 31 ? 1 : -1;
        break;
    default:
        for (int i = 0; i < 4; i++) x[i] = philox_uniform(word.v[i]);
    }
}

static void draw_task(void *arg, int64_t task, int worker)
{
    const struct draw *d = arg;
    int64_t sample = task / d->tasks_per_sample,
            block = task % d->tasks_per_sample * BLOCKS_PER_TASK;
    int64_t end = min_int(block + BLOCKS_PER_TASK, d->blocks);
    real *out = d->out + sample * d->elements;
    (void)worker;
    for (; block < end; block++) {
        double x[4];
        draw_block(d, (uint64_t)block, (uint32_t)(d->row + sample), x);
        int64_t n = min_int(4, d->elements - 4 * block);
        for (int64_t i = 0; i < n; i++) out[4 * block + i] = (real)x[i];
    }
}

void NAME(kernel_RANDOM)(const struct step *step, struct run *run)
{
    const struct tensor *out = &step->out[0];
    uint64_t key = run->seed ^ (uint64_t)step->ai[1];
    int64_t samples = out->dim[0];
    struct draw d = { .out = out->data, .kind = step->ai[0], .row = step->ai[2] ? run->row : 0 };
    d.elements = tensor_count(out) / samples;
    d.blocks = divide_up(d.elements, 4);
    d.tasks_per_sample = divide_up(d.blocks, BLOCKS_PER_TASK);
    d.step = run->step;
    d.key[0] = (uint32_t)key;
    d.key[1] = (uint32_t)(key >> 32);
    pool_run(engine_pool(run->engine), samples * d.tasks_per_sample, draw_task, &d);
}
