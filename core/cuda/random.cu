/* random.cu - random numbers by counter, bit for bit those of core/cpu/isa/random.c: element i of
 * a sample is a function of the run's seed and step, the sample's row in the global batch, the
 * value's own key, and i. Block b of four words serves elements 4b .. 4b+3. The key is read from
 * device memory: a recorded graph draws anew each time. */
#include "launch.h"
#include "../philox.h"

struct draw {
    int64_t kind, elements, blocks, samples; /* elements, blocks: of one sample */
    uint64_t key;
    int32_t by_row;
};

template <class T> __global__ void draw_numbers(T *out, struct draw d, const struct run_key *run)
{
    uint64_t seed = run->seed ^ d.key, step = run->step;
    uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    int64_t row = d.by_row ? run->row : 0;
    for (int64_t i = FIRST_ELEMENT; i < d.samples * d.blocks; i += NEXT_ELEMENT) {
        int64_t sample = i / d.blocks, block = i % d.blocks;
        uint32_t counter[4] = { (uint32_t)block, (uint32_t)(row + sample), (uint32_t)step,
                                (uint32_t)(step >> 32) ^ (uint32_t)(block >> 32) };
        struct philox word = philox(counter, key);
        double x[4];
        if (d.kind == GLOW_GAUSS) {
            philox_gauss(word.v[0], word.v[1], x);
            philox_gauss(word.v[2], word.v[3], x + 2);
        } else {
            for (int k = 0; k < 4; k++)
                x[k] = d.kind == GLOW_SIGNS ? (word.v[k] >> 31 ? 1.0 : -1.0)
                                            : philox_uniform(word.v[k]);
        }
        T *to = out + sample * d.elements + 4 * block;
        for (int k = 0; k < 4 && 4 * block + k < d.elements; k++) to[k] = (T)x[k];
    }
}

extern "C" void cuda_kernel_RANDOM(const struct step *step, struct run *run)
{
    const struct tensor *out = &step->out[0];
    struct draw d = {};
    d.kind = step->ai[0];
    d.key = (uint64_t)step->ai[1];
    d.by_row = step->ai[2] != 0;
    d.samples = out->dim[0];
    d.elements = tensor_count(out) / d.samples;
    d.blocks = divide_up(d.elements, 4);
    int64_t n = d.samples * d.blocks;
    unsigned grid = grid_for(n), threads = block_for(n);
    struct engine *e = run->engine;
    if (out->dtype == DT_F64)
        CU_LAUNCH(draw_numbers<double>, grid, threads, 0, e->stream, (double *)out->data, d,
                  e->key);
    else
        CU_LAUNCH(draw_numbers<float>, grid, threads, 0, e->stream, (float *)out->data, d, e->key);
}

__global__ void set_key(struct run_key *to, struct run_key from) { *to = from; }

extern "C" cudaError_t engine_try_kernel(void)
{
    struct cudaFuncAttributes attributes;
    return cudaFuncGetAttributes(&attributes, set_key);
}

extern "C" void engine_set_key(struct engine *e, const struct run_key *key)
{
    CU_LAUNCH(set_key, 1, 1, 0, e->stream, e->key, *key);
}
