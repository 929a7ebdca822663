/* conform_data.c - datasets: rows are a pure function of their number, whatever the order and the
 * company. */
#include <stdlib.h>
#include <string.h>
#include "conform.h"
#include "data.h"

enum { ROWS = 16 };

static glow_status check_split(const char *subject, struct registry *registry,
                               const struct config *c, const char *split, struct conform_report *r)
{
    struct data *data = NULL, *again = NULL;
    const struct glow_type any = { 0 };
    int64_t forward[ROWS], backward[ROWS];
    glow_status status = GLOW_OK;
    float *a = NULL;
    if (data_open(&data, registry, c, split, &any, 3) != GLOW_OK) {
        conform_add(r, subject, "opens", VERDICT_SKIP, "%s", fail_message());
        return GLOW_OK;
    }
    int64_t count = data_count(data), n = count < ROWS ? count : ROWS, size = 1;
    const struct glow_type *t = data_type(data);
    conform_add(r, subject, "opens", count > 0 ? VERDICT_PASS : VERDICT_FAIL, "%s",
                data_describe(data));
    for (int i = 0; i < t->rank; i++) size *= t->dim[i];
    if (count < 1) goto out;
    a = calloc(3 * (size_t)(n * size), sizeof *a);
    if (!a) {
        status = fail_memory(3 * (size_t)(n * size) * sizeof *a, "conformance");
        goto out;
    }
    for (int64_t i = 0; i < n; i++) forward[i] = count == INT64_MAX ? i * 1000003 : i * (count / n);
    for (int64_t i = 0; i < n; i++) backward[i] = forward[n - 1 - i];
    TRY_OUT(data_read(data, forward, n, DT_F32, a));
    TRY_OUT(data_read(data, backward, n, DT_F32, a + n * size));
    bool same = true, varied = false;
    for (int64_t i = 0; i < n; i++) {
        same &= !memcmp(a + i * size, a + (2 * n - 1 - i) * size, (size_t)size * sizeof *a);
        varied |= i && memcmp(a, a + i * size, (size_t)size * sizeof *a);
    }
    conform_add(r, subject, "rows do not depend on order", same ? VERDICT_PASS : VERDICT_FAIL,
                "%lld rows", (long long)n);
    conform_add(r, subject, "rows differ", varied || n < 2 ? VERDICT_PASS : VERDICT_FAIL,
                "%lld rows", (long long)n);
    TRY_OUT(data_open(&again, registry, c, split, &any, 3));
    TRY_OUT(data_read(again, forward, n, DT_F32, a + 2 * n * size));
    same = !memcmp(a, a + 2 * n * size, (size_t)(n * size) * sizeof *a);
    conform_add(r, subject, "opened again, the same rows", same ? VERDICT_PASS : VERDICT_FAIL,
                "%lld rows", (long long)n);
    int64_t outside = count == INT64_MAX ? -1 : count;
    status = data_read(data, &outside, 1, DT_F32, a);
    conform_add(r, subject, "row out of range refused",
                status != GLOW_OK ? VERDICT_PASS : VERDICT_FAIL, "%s",
                status != GLOW_OK ? fail_message() : "it was read");
    status = GLOW_OK;
out:
    if (status != GLOW_OK && status != GLOW_ENOMEM) {
        conform_add(r, subject, "reads", VERDICT_FAIL, "%s", fail_message());
        status = GLOW_OK;
    }
    data_close(data);
    data_close(again);
    free(a);
    return status;
}

glow_status conform_dataset(struct registry *registry, const struct plugin_info *info,
                            const char *extra, struct conform_report *r)
{
    static const char *const splits[] = { "train", "test" };
    struct config *c;
    char text[2048], subject[160];
    snprintf(text, sizeof text, "data: { dataset = \"%s\"; %s };", info->desc->id, extra);
    TRY(config_parse(&c, text, "check"));
    glow_status status = GLOW_OK;
    for (size_t i = 0; i < GLOW_COUNT(splits) && status == GLOW_OK; i++) {
        snprintf(subject, sizeof subject, "dataset %s, %s", info->desc->id, splits[i]);
        status = check_split(subject, registry, c, splits[i], r);
    }
    config_free(c);
    return status;
}
