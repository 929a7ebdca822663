/* stripes: a dataset made of nothing but random numbers: grey images of stripes, and whether they
 * stand or lie. Row i is a pure function of the seed and i, so any thread may read any row.
 *
 *   cc -shared -fPIC -I/usr/local/include stripes.c -o stripes.so
 * and in glow.cfg  data: { dataset = "stripes"; size = 16; batch = 64; }; */
#include <stdlib.h>
#include <glow/plugin.h>

struct stripes {
    int64_t channels, height, width;
    uint64_t seed;
    struct glow_column columns[2];
};

static const char *const names[] = { "lying", "standing" };

static int32_t open_split(const struct glow_self *self, const struct glow_data_open *request,
                          void **state, struct glow_data_info *info)
{
    int64_t size = self->host->opt_int(self, "size");
    const struct glow_type *want = &request->want;
    if (want->rank != 0 && want->rank != 3) {
        self->host->fail(self, "stripes are images; the model takes something else");
        return GLOW_EINVAL;
    }
    struct stripes *s = calloc(1, sizeof *s);
    if (!s) {
        self->host->fail(self, "out of memory");
        return GLOW_ENOMEM;
    }
    s->channels = want->rank ? want->dim[0] : 1;
    s->height = want->rank ? want->dim[1] : size;
    s->width = want->rank ? want->dim[2] : size;
    s->seed = request->seed;
    for (const char *c = request->split; *c; c++) /* other pictures in every split */
        s->seed = 31 * s->seed + (unsigned char)*c;
    s->columns[0] = (struct glow_column){
        .name = "image",
        .dtype = GLOW_U8,
        .role = GLOW_ROLE_X,
        .type = glow_real_type(3, s->channels, s->height, s->width, 0),
        .hi = 255,
    };
    s->columns[1] = (struct glow_column){
        .name = "direction",
        .dtype = GLOW_I32,
        .role = GLOW_ROLE_LABEL,
        .names = names,
        .n_names = GLOW_COUNT(names),
        .hi = 1,
    };
    info->column_size = sizeof s->columns[0];
    info->columns = s->columns;
    info->n_columns = 2;
    info->count = self->host->opt_int(self, "count");
    *state = s;
    return GLOW_OK;
}

/* One image (C,H,W): a triangle wave along one direction with a random period,
 * phase and contrast. */
static void draw(const struct stripes *s, const double random[4], uint8_t *pixel)
{
    int standing = random[0] < 0.5;
    double period = 4 + 8 * random[1], phase = random[2], contrast = 0.4 + 0.6 * random[3];
    for (int64_t i = 0; i < s->channels * s->height * s->width; i++) {
        int64_t at = standing ? i % s->width : i / s->width % s->height;
        double t = (double)at / period + phase;
        double wave = 2 * (t - (double)(int64_t)t) - 1;
        pixel[i] = (uint8_t)(127.5 + contrast * 127 * (2 * (wave < 0 ? -wave : wave) - 1));
    }
}

static int32_t read_rows(const struct glow_self *self, void *state,
                         const struct glow_data_read *request)
{
    const struct stripes *s = state;
    uint8_t *image = request->dst[0];
    int32_t *direction = request->dst[1];
    for (uint32_t i = 0; i < request->n; i++) {
        double random[4];
        self->host->random(s->seed, (uint64_t)request->index[i], GLOW_UNIFORM, random, 4);
        if (image) draw(s, random, image + (int64_t)i * s->channels * s->height * s->width);
        if (direction) direction[i] = random[0] < 0.5;
    }
    return GLOW_OK;
}

static const struct glow_option options[] = {
    { .key = "size",
      .type = GLOW_OPT_INT,
      .since = 1,
      .dflt = "16",
      .range = "[1,4096]",
      .unit = "pixels",
      .help = "height and width, where the model does not say" },
    { .key = "count",
      .type = GLOW_OPT_INT,
      .since = 1,
      .dflt = "10000",
      .range = "[1,inf)",
      .unit = "images",
      .help = "size of each split" },
};

static const struct glow_dataset dataset = {
    GLOW_HEAD(struct glow_dataset, GLOW_DATASET, 1, "stripes", "grey stripes", options,
              GLOW_COUNT(options)),
    .open = open_split,
    .close = free,
    .read = read_rows,
};

static const struct glow_desc *const descs[] = { &dataset.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "stripes", "1", "", descs
};
