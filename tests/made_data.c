/* made_data.c - see made_data.h. */
#include "made_data.h"
#include <check.h>
#include <string.h>
#include <unistd.h>
#include "status.h"

#undef fail /* an old name of ck_abort_msg; here it is that of status.h */

struct make make;
atomic_int opened, closed, workers_opened, workers_closed, reading, most_reading, reads;

void made_default(void)
{
    make = (struct make){ .count = 100,
                          .dtype = GLOW_U8,
                          .role = GLOW_ROLE_X,
                          .lo = 0,
                          .hi = 255,
                          .fail_at = -1,
                          .height = 2,
                          .column_size = sizeof(struct glow_column) };
    opened = closed = workers_opened = workers_closed = reading = most_reading = reads = 0;
}

int made_content(int64_t row, int k) { return (int)((row * 31 + k * 7 + row / 256) & 127); }

/* The table of columns, with a stride that may be larger than this host's record. */
static _Alignas(16) char table[2 * sizeof(struct glow_column) + 128];
static struct glow_column *column_at(int i)
{
    return (struct glow_column *)(void *)(table + (size_t)i * make.column_size);
}

static int32_t open_split(const struct glow_self *self, const struct glow_data_open *request,
                          void **state, struct glow_data_info *info)
{
    ck_assert_uint_eq(request->size, sizeof *request);
    if (make.open_code) {
        self->host->fail(self, make.why);
        return make.open_code;
    }
    struct glow_column x = { .name = "x",
                             .dtype = make.dtype,
                             .role = make.role,
                             .lo = make.lo,
                             .hi = make.hi,
                             .type = { .rank = 3, .dim = { 1, make.height, 3 } } };
    struct glow_column label = { .name = "label", .dtype = GLOW_I32, .role = GLOW_ROLE_LABEL };
    memset(table, 0xAB, sizeof table);
    if (make.column_size >= sizeof x) {
        *column_at(0) = x;
        *column_at(1) = label;
    }
    info->columns = column_at(0);
    info->column_size = make.column_size;
    info->n_columns = 2;
    info->count = make.count;
    info->flags = make.flags;
    *state = &make;
    opened++;
    return GLOW_OK;
}

static void close_split(void *state)
{
    ck_assert_ptr_eq(state, &make);
    closed++;
}

static int32_t read_rows(const struct glow_self *self, void *state, const struct glow_data_read *r)
{
    int now = atomic_fetch_add(&reading, 1) + 1, most = most_reading;
    while (now > most && !atomic_compare_exchange_weak(&most_reading, &most, now)) {}
    if (make.delay) usleep((useconds_t)make.delay);
    int32_t code = GLOW_OK;
    ck_assert_ptr_eq(state, &make);
    for (uint32_t i = 0; i < r->n; i++) {
        if (make.fail_also && r->index[i] == make.fail_also) code = GLOW_EIO;
        if (r->index[i] == make.fail_at) {
            if (make.fail_slowly) usleep(100000);
            if (make.why) self->host->fail(self, make.why);
            code = GLOW_EIO;
        }
        for (int k = 0; r->dst[0] && k < WIDTH; k++) {
            size_t at = i * (size_t)WIDTH + (size_t)k;
            int v =
                make.shows_keys ? (int)(r->key[i] >> (8 * k) & 255) : made_content(r->index[i], k);
            switch (make.dtype) {
            case GLOW_U8: ((uint8_t *)r->dst[0])[at] = (uint8_t)v; break;
            case GLOW_I32: ((int32_t *)r->dst[0])[at] = -v; break;
            case GLOW_I64: ((int64_t *)r->dst[0])[at] = v * 1000000; break;
            case GLOW_F32: ((float *)r->dst[0])[at] = (float)v / 3; break;
            case GLOW_F64: ((double *)r->dst[0])[at] = v / 3.0; break;
            }
        }
        if (r->dst[1]) ((int32_t *)r->dst[1])[i] = (int32_t)(r->index[i] % 10);
    }
    reading--;
    reads++;
    return code;
}

static int32_t worker_open(const struct glow_self *self, void *state, void **worker)
{
    if (make.worker_code) {
        self->host->fail(self, "no worker today");
        return make.worker_code;
    }
    *worker = state;
    workers_opened++;
    return GLOW_OK;
}

static void worker_close(void *state, void *worker)
{
    ck_assert_ptr_eq(state, worker);
    workers_closed++;
}

static const struct glow_dataset dataset = { GLOW_HEAD(struct glow_dataset, GLOW_DATASET, 1, "made",
                                                       "for tests", NULL, 0),
                                             open_split,
                                             close_split,
                                             read_rows,
                                             worker_open,
                                             worker_close };
static const struct plugin_info info = { .desc = &dataset.head, .file = "made.so" };

static void host_fail(const struct glow_self *self, const char *why)
{
    fail(GLOW_EINVAL, "%s: %s", self->path, why);
}
static const struct glow_host host = { .size = sizeof host, .fail = host_fail };
static char path[] = "data";
struct instance made_instance = { .self = { &host, path, NULL }, .info = &info, .path = path };
