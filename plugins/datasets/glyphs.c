/* glyphs.c - digit-like images drawn from a seed; no file is needed. Row i is a pure function of
 * (seed, split, i): its digit is i mod 10 and its looks are 64 uniform numbers.
 *
 * A digit is a few strokes in a box of half height 1 (y downwards): polylines and arcs, each arc
 * cut into segments. Their points are jittered, then slanted, turned, scaled and moved. The ink of
 * a pixel is clamp(1/2 + (pen/2 - d) pixels), d the distance of its centre to the nearest segment:
 * a pen of constant width with edges one pixel wide. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "dataset.h"

static const double pi = 3.14159265358979323846;
enum {
    DIGITS = 10,
    MAX_STROKES = 4,
    MAX_POINTS = 6,
    ARC_SEGMENTS = 14,
    MAX_SEGMENTS = 48,
    DRAWS = 64,
    TEST_ROWS = 10000,
    NATIVE_SIDE = 32
};

/* A polyline of n points (x, y); or, with n = 0, an arc: centre x, y, radii x, y, and from where to
 * where it goes, in degrees, 0 = right, 90 = down. */
struct stroke {
    int n;
    double at[MAX_POINTS][2];
};
struct glyph {
    int n;
    struct stroke stroke[MAX_STROKES];
};
#define ARC(cx, cy, rx, ry, from, to)                                                              \
    {                                                                                              \
        0,                                                                                         \
        {                                                                                          \
            { cx, cy }, { rx, ry }, { from, to }                                                   \
        }                                                                                          \
    }

static const struct glyph glyphs[DIGITS] = {
    { 1, { ARC(0, 0, 0.62, 1, -90, 270) } },
    { 1, { { 3, { { -0.4, -0.6 }, { 0.1, -1 }, { 0.1, 1 } } } } },
    { 2,
      { ARC(0, -0.48, 0.6, 0.52, -190, 25),
        { 3, { { 0.54, -0.26 }, { -0.65, 1 }, { 0.7, 1 } } } } },
    { 2, { ARC(-0.05, -0.5, 0.58, 0.5, -160, 90), ARC(-0.05, 0.5, 0.65, 0.5, -90, 155) } },
    { 2,
      { { 3, { { 0.1, -1 }, { -0.7, 0.4 }, { 0.75, 0.4 } } },
        { 2, { { 0.35, -0.2 }, { 0.35, 1 } } } } },
    { 2,
      { { 4, { { 0.6, -1 }, { -0.45, -1 }, { -0.5, -0.15 }, { -0.4, -0.2 } } },
        ARC(-0.05, 0.38, 0.65, 0.62, -125, 140) } },
    { 2,
      { { 4, { { 0.4, -1 }, { -0.2, -0.6 }, { -0.55, 0 }, { -0.6, 0.45 } } },
        ARC(0, 0.45, 0.6, 0.55, -180, 180) } },
    { 1, { { 3, { { -0.65, -1 }, { 0.65, -1 }, { -0.2, 1 } } } } },
    { 2, { ARC(0, -0.5, 0.5, 0.48, -90, 270), ARC(0, 0.5, 0.62, 0.52, -90, 270) } },
    { 2,
      { ARC(0, -0.45, 0.6, 0.55, 0, 360),
        { 4, { { 0.6, -0.45 }, { 0.55, 0 }, { 0.25, 0.6 }, { -0.3, 1 } } } } },
};
static const char *const names[DIGITS] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" };

static const struct glow_option options[] = {
    { .key = "count",
      .type = GLOW_OPT_INT,
      .since = 1,
      .dflt = "0",
      .range = "[0,inf)",
      .unit = "rows",
      .help = "rows of each split; 0: without end for train, 10000 for valid and test" },
    { .key = "variation",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "1.0",
      .range = "[0,1]",
      .help = "how much slant, size, place, pen and the strokes differ; 0: one image per digit" },
    { .key = "noise",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "0.0",
      .range = "[0,255]",
      .unit = "grey levels",
      .help = "standard deviation of Gaussian noise on every pixel" },
};

struct generator {
    struct image_shape shape;
    double variation, noise;
    uint64_t looks_seed, noise_seed;
    int64_t count;
    struct glow_column columns[2];
};

static int32_t open_split(const struct glow_self *self, const struct glow_data_open *open,
                          void **state, struct glow_data_info *info)
{
    static const struct image_shape native = { 1, NATIVE_SIDE, NATIVE_SIDE };
    struct image_shape shape;
    struct glow_type row;
    enum dataset_split split;
    TRY(dataset_split(self, open->split, &split));
    TRY(dataset_image_shape(self, &open->want, &native, &shape, &row));
    if (shape.height < 8 || shape.width < 8)
        return dataset_fail(self, GLOW_EINVAL, "digits of %dx%d pixels: expected at least 8x8",
                            (int)shape.height, (int)shape.width);
    struct generator *g = calloc(1, sizeof *g);
    if (!g) return dataset_fail_memory(self, sizeof *g);
    g->shape = shape;
    g->variation = self->host->opt_real(self, "variation");
    g->noise = self->host->opt_real(self, "noise");
    g->count = self->host->opt_int(self, "count");
    if (g->count == 0) g->count = split == DATASET_TRAIN ? INT64_MAX : TEST_ROWS;
    g->looks_seed = dataset_mix(open->seed ^ dataset_mix(2 * (uint64_t)split));
    g->noise_seed = dataset_mix(open->seed ^ dataset_mix(2 * (uint64_t)split + 1));
    g->columns[0] = dataset_image_column(&row);
    g->columns[1] = dataset_label_column(names, DIGITS);

    info->column_size = sizeof g->columns[0];
    info->n_columns = 2;
    info->columns = g->columns;
    info->flags = 0;
    info->count = g->count;
    uint64_t hash = dataset_hash(DATASET_HASH, &g->variation, sizeof g->variation);
    hash = dataset_hash(hash, &g->noise, sizeof g->noise);
    hash = dataset_hash(hash, &shape, sizeof shape);
    info->fingerprint = dataset_mix(dataset_hash_int(hash, (int64_t)g->looks_seed));
    *state = g;
    return GLOW_OK;
}

/* ---------------------------------------------------------------- from numbers to segments */

struct segments {
    int n;
    double a[MAX_SEGMENTS][2], b[MAX_SEGMENTS][2]; /* in pixels */
};
/* How one image looks. u: uniform numbers that are used up in order. */
struct looks {
    double m[2][2], move[2], pen; /* pixels = m * glyph point + move */
    double variation;
    const double *u;
};

/* The next number, as uniform on [-variation, variation). */
static double next(struct looks *k) { return (2 * *k->u++ - 1) * k->variation; }

static struct looks choose_looks(const struct generator *g, const double *u)
{
    struct looks k = { .u = u, .variation = g->variation };
    double width = (double)g->shape.width, height = (double)g->shape.height;
    double side = fmin(width, height);
    double slant = 0.15 + 0.3 * next(&k), turn = 0.12 * next(&k);
    double size = side * (0.34 + 0.04 * next(&k)), aspect = 1 + 0.2 * next(&k);
    double c = cos(turn) * size, s = sin(turn) * size;
    k.m[0][0] = c * aspect;
    k.m[0][1] = -c * slant - s;
    k.m[1][0] = s * aspect;
    k.m[1][1] = c - s * slant;
    k.move[0] = width / 2 + 0.06 * side * next(&k);
    k.move[1] = height / 2 + 0.06 * side * next(&k);
    k.pen = side * (0.095 + 0.04 * next(&k));
    return k;
}

static void place(const struct looks *k, double x, double y, double out[2])
{
    out[0] = k->m[0][0] * x + k->m[0][1] * y + k->move[0];
    out[1] = k->m[1][0] * x + k->m[1][1] * y + k->move[1];
}

static void add_segment(struct segments *s, const double a[2], const double b[2])
{
    if (s->n == MAX_SEGMENTS) return;
    memcpy(s->a[s->n], a, sizeof s->a[0]);
    memcpy(s->b[s->n++], b, sizeof s->b[0]);
}

static void add_line(struct segments *s, struct looks *k, const struct stroke *stroke)
{
    double last[2], here[2];
    for (int i = 0; i < stroke->n; i++) {
        double dx = 0.08 * next(k), dy = 0.08 * next(k);
        place(k, stroke->at[i][0] + dx, stroke->at[i][1] + dy, here);
        if (i) add_segment(s, last, here);
        memcpy(last, here, sizeof last);
    }
}

static void add_arc(struct segments *s, struct looks *k, const struct stroke *stroke)
{
    double last[2], here[2], jitter[6];
    for (int i = 0; i < 6; i++) jitter[i] = next(k);
    double cx = stroke->at[0][0] + 0.06 * jitter[0], cy = stroke->at[0][1] + 0.06 * jitter[1];
    double rx = stroke->at[1][0] * (1 + 0.15 * jitter[2]);
    double ry = stroke->at[1][1] * (1 + 0.1 * jitter[3]);
    double from = (stroke->at[2][0] + 12 * jitter[4]) * pi / 180;
    double to = (stroke->at[2][1] + 12 * jitter[5]) * pi / 180;
    for (int i = 0; i <= ARC_SEGMENTS; i++) {
        double t = from + (to - from) * i / ARC_SEGMENTS;
        place(k, cx + rx * cos(t), cy + ry * sin(t), here);
        if (i) add_segment(s, last, here);
        memcpy(last, here, sizeof last);
    }
}

/* ---------------------------------------------------------------- from segments to pixels */

static int64_t clamp(double v, int64_t hi) { return v < 0 ? 0 : v > (double)hi ? hi : (int64_t)v; }

/* Lowers distance2 (H,W), the squared distance to the nearest segment, around one segment. */
static void near_segment(const struct image_shape *shape, const double a[2], const double b[2],
                         double reach, float *distance2)
{
    double dx = b[0] - a[0], dy = b[1] - a[1], length2 = dx * dx + dy * dy;
    double over = length2 > 0 ? 1 / length2 : 0;
    int64_t x0 = clamp(fmin(a[0], b[0]) - reach, shape->width);
    int64_t x1 = clamp(fmax(a[0], b[0]) + reach + 1, shape->width);
    int64_t y0 = clamp(fmin(a[1], b[1]) - reach, shape->height);
    int64_t y1 = clamp(fmax(a[1], b[1]) + reach + 1, shape->height);
    for (int64_t y = y0; y < y1; y++) {
        for (int64_t x = x0; x < x1; x++) {
            double px = (double)x + 0.5 - a[0], py = (double)y + 0.5 - a[1];
            double t = (px * dx + py * dy) * over;
            t = t < 0 ? 0 : t > 1 ? 1 : t;
            double ex = px - t * dx, ey = py - t * dy;
            float d2 = (float)(ex * ex + ey * ey), *least = distance2 + y * shape->width + x;
            if (d2 < *least) *least = d2;
        }
    }
}

/* ink (H,W) in [0,1] from squared distances, in place. */
static void to_ink(float *distance2, int64_t n, double pen)
{
    for (int64_t i = 0; i < n; i++) {
        double ink = 0.5 + pen / 2 - sqrt(distance2[i]);
        distance2[i] = (float)(ink < 0 ? 0 : ink > 1 ? 1 : ink);
    }
}

static void draw(const struct generator *g, int digit, const double *u, float *ink)
{
    struct looks k = choose_looks(g, u);
    struct segments s = { 0 };
    const struct glyph *glyph = &glyphs[digit];
    int64_t pixels = g->shape.height * g->shape.width;
    for (int i = 0; i < glyph->n; i++) {
        if (glyph->stroke[i].n)
            add_line(&s, &k, &glyph->stroke[i]);
        else
            add_arc(&s, &k, &glyph->stroke[i]);
    }
    for (int64_t i = 0; i < pixels; i++) ink[i] = 1e9f;
    for (int i = 0; i < s.n; i++) near_segment(&g->shape, s.a[i], s.b[i], k.pen / 2 + 1, ink);
    to_ink(ink, pixels, k.pen);
}

/* Black ground; the ink has a strength per channel, so RGB glyphs are coloured. */
static void to_pixels(const struct generator *g, const float *ink, const double *u, uint8_t *dst)
{
    int64_t pixels = g->shape.height * g->shape.width;
    double least = g->shape.channels == 1 ? 0.75 : 0.3;
    for (int64_t c = 0; c < g->shape.channels; c++) {
        double level = 255 * (1 - (1 - least) * g->variation * u[c]);
        for (int64_t i = 0; i < pixels; i++) dst[c * pixels + i] = (uint8_t)(level * ink[i] + 0.5);
    }
}

static void add_noise(const struct glow_self *self, const struct generator *g, uint64_t row,
                      double *gauss, uint8_t *dst)
{
    int64_t n = image_bytes(&g->shape);
    self->host->random(g->noise_seed, row, GLOW_GAUSS, gauss, n);
    for (int64_t i = 0; i < n; i++) {
        double v = dst[i] + g->noise * gauss[i] + 0.5;
        dst[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

/* What a thread draws in: a normal number for each byte of an image, then ink for each pixel. */
static int32_t worker_open(const struct glow_self *self, void *state, void **worker)
{
    const struct generator *g = state;
    size_t bytes = (size_t)image_bytes(&g->shape), pixels = bytes / (size_t)g->shape.channels;
    size_t size = bytes * sizeof(double) + pixels * sizeof(float);
    *worker = malloc(size);
    return *worker ? GLOW_OK : dataset_fail_memory(self, size);
}

static void worker_close(void *state, void *worker)
{
    (void)state;
    free(worker);
}

static int32_t read_rows(const struct glow_self *self, void *state,
                         const struct glow_data_read *request)
{
    const struct generator *g = state;
    TRY(dataset_check_rows(self, request, g->count));
    size_t bytes = (size_t)image_bytes(&g->shape);
    void *worker = request->worker;
    uint8_t *x = request->dst[0];
    int32_t *label = request->dst[1];
    for (uint32_t i = 0; label && i < request->n; i++)
        label[i] = (int32_t)(request->index[i] % DIGITS);
    if (!x) return GLOW_OK;

    if (!worker) TRY(worker_open(self, state, &worker));
    double *gauss = worker;
    float *ink = (float *)(gauss + bytes);
    for (uint32_t i = 0; i < request->n; i++, x += bytes) {
        double u[DRAWS];
        uint64_t row = (uint64_t)request->index[i];
        self->host->random(g->looks_seed, row, GLOW_UNIFORM, u, DRAWS);
        draw(g, (int)(row % DIGITS), u, ink);
        to_pixels(g, ink, u + DRAWS - 3, x);
        if (g->noise > 0) add_noise(self, g, row, gauss, x);
    }
    if (worker != request->worker) worker_close(state, worker);
    return GLOW_OK;
}

static const struct glow_dataset dataset = {
    GLOW_HEAD(struct glow_dataset, GLOW_DATASET, 1, "glyphs",
              "digit-like images of any size, drawn from a seed: needs no file", options,
              GLOW_COUNT(options)),
    .open = open_split,
    .close = free,
    .read = read_rows,
    .worker_open = worker_open,
    .worker_close = worker_close,
};

static const struct glow_desc *const descs[] = { &dataset.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "glyphs", "1", "", descs
};
