/* memory.c - memory of the device. Blocks come from a pool that is ordered by the stream: what a
 * program gives back, the next takes, without asking the driver. Each block has an owner's name,
 * for the day when there is no room left.
 *
 * Input goes through two pieces of pinned memory and two of device memory, in turn: the host fills
 * one while the copy stream brings the other over, and the compute stream takes it from there when
 * it gets to it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cuda.h"

enum { MARGIN = 256, STAGINGS = 2, PIECE = 4 << 20 };

struct block {
    struct block *next;
    char *start;
    size_t bytes;
    char owner[48];
};

struct staging {
    void *host, *device;
    cudaEvent_t copied, taken; /* host may be filled again; device may be */
};

/* ---------------------------------------------------------------- the pool */

static glow_status open_staging(struct engine *e, struct staging *s)
{
    TRY_CUDA(cudaHostAlloc(&s->host, PIECE, cudaHostAllocDefault));
    TRY_CUDA(cudaMallocAsync(&s->device, PIECE, e->stream));
    TRY_CUDA(cudaEventCreateWithFlags(&s->copied, cudaEventDisableTiming));
    TRY_CUDA(cudaEventCreateWithFlags(&s->taken, cudaEventDisableTiming));
    return GLOW_OK;
}

glow_status memory_open(struct engine *e)
{
    unsigned long long keep = UINT64_MAX; /* what is given back stays ours until the end */
    TRY_CUDA(cudaDeviceGetDefaultMemPool(&e->pool, e->device));
    TRY_CUDA(cudaMemPoolSetAttribute(e->pool, cudaMemPoolAttrReleaseThreshold, &keep));
    e->staging = calloc(STAGINGS, sizeof *e->staging);
    if (!e->staging) return fail_memory(STAGINGS * sizeof *e->staging, "cuda engine");
    for (int i = 0; i < STAGINGS; i++) TRY(open_staging(e, &e->staging[i]));
    return engine_finish(e); /* the pieces are there for both streams */
}

void memory_close(struct engine *e)
{
    for (int i = 0; i < STAGINGS && e->staging; i++) {
        struct staging *s = &e->staging[i];
        if (s->copied) cudaEventDestroy(s->copied);
        if (s->taken) cudaEventDestroy(s->taken);
        if (s->device) cudaFreeAsync(s->device, e->stream);
        if (s->host) cudaFreeHost(s->host);
    }
    free(e->staging);
    while (e->blocks) memory_release(e, e->blocks->start + MARGIN);
    if (e->stream) cudaStreamSynchronize(e->stream);
    if (e->pool) cudaMemPoolTrimTo(e->pool, 0);
}

static double megabytes(size_t bytes) { return (double)bytes / 1e6; }

/* Who has how much, the largest first, as far as the text goes. */
static void list_owners(const struct engine *e, char *text, size_t size)
{
    size_t below = SIZE_MAX, n = 0;
    *text = '\0';
    for (int i = 0; i < 5 && n < size; i++) {
        const struct block *most = NULL;
        for (const struct block *b = e->blocks; b; b = b->next)
            if (b->bytes < below && (!most || b->bytes > most->bytes)) most = b;
        if (!most) break;
        below = most->bytes;
        n += (size_t)snprintf(text + n, size - n, "%s%s %.1f MB", n ? ", " : "", most->owner,
                              megabytes(most->bytes));
    }
}

static glow_status out_of_memory(struct engine *e, size_t bytes, const char *owner)
{
    struct memory_report r;
    char owners[300];
    cudaGetLastError(); /* a lack of memory is not for the next call to report */
    memory_report(e, &r);
    list_owners(e, owners, sizeof owners);
    return fail(GLOW_ENOMEM,
                "%s: no room for %.1f MB on the GPU: %.1f of its %.1f MB are free, glow has %.1f "
                "MB (%s). Try a smaller data.batch, or train.memory = \"recompute\", or a smaller "
                "train.memory_budget",
                owner, megabytes(bytes), megabytes(r.available), megabytes(r.all),
                megabytes(r.used), owners);
}

glow_status memory_alloc(struct engine *e, size_t bytes, const char *owner, void **out)
{
    struct block *b = calloc(1, sizeof *b);
    void *start = NULL;
    *out = NULL;
    if (!b) return fail_memory(sizeof *b, owner);
    cudaError_t error = bytes > SIZE_MAX / 2
                            ? cudaErrorMemoryAllocation
                            : cudaMallocAsync(&start, bytes + 2 * MARGIN, e->stream);
    if (error != cudaSuccess) {
        free(b); /* what went wrong before shows here, too, and is no lack of memory */
        return error == cudaErrorMemoryAllocation ? out_of_memory(e, bytes, owner)
                                                  : cuda_failed(error, "cudaMallocAsync");
    }
    *b = (struct block){ .next = e->blocks, .start = start, .bytes = bytes };
    snprintf(b->owner, sizeof b->owner, "%s", owner);
    e->blocks = b;
    e->used += bytes;
    if (e->used > e->peak) e->peak = e->used;
    *out = b->start + MARGIN;
    TRY_CUDA(cudaMemsetAsync(start, 0, bytes + 2 * MARGIN, e->stream));
    return GLOW_OK;
}

void memory_release(struct engine *e, void *data)
{
    for (struct block **p = &e->blocks; *p; p = &(*p)->next) {
        struct block *b = *p;
        if (b->start + MARGIN != (char *)data) continue;
        *p = b->next;
        e->used -= b->bytes;
        cudaFreeAsync(b->start, e->stream);
        free(b);
        return;
    }
}

void memory_report(struct engine *e, struct memory_report *r)
{
    unsigned long long reserved = 0;
    *r = (struct memory_report){ .used = e->used, .peak = e->peak };
    cudaMemPoolGetAttribute(e->pool, cudaMemPoolAttrReservedMemCurrent, &reserved);
    r->reserved = (size_t)reserved;
    cudaMemGetInfo(&r->available, &r->all);
}

/* ---------------------------------------------------------------- copies */

static glow_status upload_piece(struct engine *e, void *to, const void *from, size_t bytes)
{
    struct staging *s = &e->staging[e->next_staging];
    e->next_staging = (e->next_staging + 1) % STAGINGS;
    TRY_CUDA(cudaEventSynchronize(s->copied));
    memcpy(s->host, from, bytes);
    TRY_CUDA(cudaStreamWaitEvent(e->copies, s->taken, 0));
    TRY_CUDA(cudaMemcpyAsync(s->device, s->host, bytes, cudaMemcpyHostToDevice, e->copies));
    TRY_CUDA(cudaEventRecord(s->copied, e->copies));
    TRY_CUDA(cudaStreamWaitEvent(e->stream, s->copied, 0));
    TRY_CUDA(cudaMemcpyAsync(to, s->device, bytes, cudaMemcpyDeviceToDevice, e->stream));
    TRY_CUDA(cudaEventRecord(s->taken, e->stream));
    return GLOW_OK;
}

glow_status memory_upload(struct engine *e, void *to, const void *from, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += PIECE) {
        size_t n = bytes - at < PIECE ? bytes - at : PIECE;
        TRY(upload_piece(e, (char *)to + at, (const char *)from + at, n));
    }
    return GLOW_OK;
}

glow_status memory_download(struct engine *e, void *to, const void *from, size_t bytes)
{
    TRY_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, e->stream));
    return engine_finish(e);
}

glow_status memory_copy(struct engine *e, void *to, const void *from, size_t bytes)
{
    TRY_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, e->stream));
    return GLOW_OK;
}
