/* toy2d.c - points of the plane from densities that are known. No file; row i is a pure function of
 * (seed, split, i). With u uniform on [0,1), g, h ~ N(0,1), k uniform on its range, s = noise:
 *
 *   eight_gaussians  x = 2 (cos, sin)(2 pi k/8) + s (g, h), k = 0..7.          s = 0.2
 *     p(x) = 1/8 sum_k N(x; c_k, s^2 I)
 *   checkerboard     x uniform on the 8 unit cells [i,i+1) x [j,j+1), i, j = -2..1, i + j even,
 *                    + s (g, h).                                               s = 0
 *     p(x) = 1/8 on the cells, else 0; for s > 0
 *     p(x) = 1/8 sum_cells F(x1; i) F(x2; j), F(t; a) = Phi((t-a)/s) - Phi((t-a-1)/s)
 *   rings            radius r = R_k + s g, R = 0.75, 1.5, 2.25, 3, each with probability 1/4,
 *                    angle t = 2 pi u, x = r (cos t, sin t).                   s = 0.08
 *     p(x) = 1/4 sum_k (N(q; R_k, s^2) + N(-q; R_k, s^2)) / (2 pi q), q = |x|
 *   moons            t = pi u; k = 0: c = (cos t, sin t); k = 1: c = (1 - cos t, 1/2 - sin t);
 *                    x = c - (1/2, 1/4) + s (g, h).                            s = 0.1
 *     p(x) = 1/2 sum_k (1/pi) integral over t in [0,pi] of N(x; c_k(t) - (1/2,1/4), s^2 I)
 *   pinwheel         v = (1.5 + 0.5 g, s h); x = v turned by 2 pi k/5 + |v|, k = 0..4.  s = 0.15
 *     p(x) = 1/5 sum_k N(w; (1.5, 0), diag(0.25, s^2)), w = x turned by -(2 pi k/5 + |x|):
 *     a turn by an angle that depends on the radius alone keeps areas.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "dataset.h"

static const double pi = 3.14159265358979323846;

enum kind { MOONS, RINGS, CHECKERBOARD, PINWHEEL, EIGHT_GAUSSIANS };
static const char *const kind_names[] = { "moons", "rings", "checkerboard", "pinwheel",
                                          "eight_gaussians" };
static const double usual_noise[] = { 0.1, 0.08, 0, 0.15, 0.2 };
enum { TEST_ROWS = 10000 };

struct toy2d {
    enum kind kind;
    double noise;
    uint64_t uniform_seed, gauss_seed;
    int64_t count;
    struct glow_column column;
};

static const struct glow_option options[] = {
    { .key = "kind",
      .type = GLOW_OPT_ENUM,
      .since = 1,
      .dflt = "moons",
      .range = "moons|rings|checkerboard|pinwheel|eight_gaussians",
      .help = "the density" },
    { .key = "noise",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "-1.0",
      .range = "[-1,inf)",
      .help = "standard deviation of the noise; -1: 0.1 for moons, 0.08 for rings, 0 for the "
              "checkerboard, 0.15 for the pinwheel, 0.2 for eight_gaussians" },
    { .key = "count",
      .type = GLOW_OPT_INT,
      .since = 1,
      .dflt = "0",
      .range = "[0,inf)",
      .unit = "rows",
      .help = "rows of each split; 0: without end for train, 10000 for valid and test" },
};

static int32_t open_split(const struct glow_self *self, const struct glow_data_open *open,
                          void **state, struct glow_data_info *info)
{
    enum dataset_split split;
    char text[DATASET_SHAPE_TEXT];
    TRY(dataset_split(self, open->split, &split));
    if (open->want.rank != 0 && (open->want.rank != 1 || open->want.dim[0] != 2))
        return dataset_fail(self, GLOW_EINVAL,
                            "the model takes %s, the rows are points: expected 2",
                            dataset_shape_text(&open->want, text));
    struct toy2d *toy = calloc(1, sizeof *toy);
    if (!toy) return dataset_fail_memory(self, sizeof *toy);

    const char *name = self->host->opt_string(self, "kind");
    while (toy->kind < EIGHT_GAUSSIANS && strcmp(name, kind_names[toy->kind])) toy->kind++;
    toy->noise = self->host->opt_real(self, "noise");
    if (toy->noise < 0) toy->noise = usual_noise[toy->kind];
    toy->count = self->host->opt_int(self, "count");
    if (toy->count == 0) toy->count = split == DATASET_TRAIN ? INT64_MAX : TEST_ROWS;
    toy->uniform_seed = dataset_mix(open->seed ^ dataset_mix(2 * (uint64_t)split));
    toy->gauss_seed = dataset_mix(open->seed ^ dataset_mix(2 * (uint64_t)split + 1));
    toy->column = (struct glow_column){ .name = "x",
                                        .dtype = GLOW_F32,
                                        .role = GLOW_ROLE_X,
                                        .type = { .rank = 1, .dim = { 2 } },
                                        .lo = -4,
                                        .hi = 4 };

    info->column_size = sizeof toy->column;
    info->n_columns = 1;
    info->columns = &toy->column;
    info->flags = 0;
    info->count = toy->count;
    uint64_t hash = dataset_hash_text(DATASET_HASH, kind_names[toy->kind]);
    hash = dataset_hash(hash, &toy->noise, sizeof toy->noise);
    info->fingerprint = dataset_mix(dataset_hash_int(hash, (int64_t)toy->uniform_seed));
    *state = toy;
    return GLOW_OK;
}

/* One of n, from u in [0,1). */
static int choose(double u, int n)
{
    int k = (int)(u * n);
    return k < n ? k : n - 1;
}

/* The formulas of the head of this file. */
static void draw(enum kind kind, double s, const double u[2], const double g[2], double x[2])
{
    double t, r;
    int k;
    switch (kind) {
    case EIGHT_GAUSSIANS:
        t = 2 * pi * choose(u[0], 8) / 8;
        x[0] = 2 * cos(t) + s * g[0];
        x[1] = 2 * sin(t) + s * g[1];
        break;
    case CHECKERBOARD: { /* u[0] gives the cell and, by what remains, the place in it */
        double at = 8 * u[0];
        k = choose(u[0], 8);
        int i = k / 2, j = 2 * (k % 2) + i % 2;
        x[0] = i - 2 + (at - k) + s * g[0];
        x[1] = j - 2 + u[1] + s * g[1];
        break;
    }
    case RINGS:
        r = 0.75 * (1 + choose(u[0], 4)) + s * g[0];
        t = 2 * pi * u[1];
        x[0] = r * cos(t);
        x[1] = r * sin(t);
        break;
    case MOONS:
        k = choose(u[0], 2);
        t = pi * u[1];
        x[0] = (k ? 1 - cos(t) : cos(t)) - 0.5 + s * g[0];
        x[1] = (k ? 0.5 - sin(t) : sin(t)) - 0.25 + s * g[1];
        break;
    case PINWHEEL: {
        double v[2] = { 1.5 + 0.5 * g[0], s * g[1] };
        t = 2 * pi * choose(u[0], 5) / 5 + hypot(v[0], v[1]);
        x[0] = cos(t) * v[0] - sin(t) * v[1];
        x[1] = sin(t) * v[0] + cos(t) * v[1];
        break;
    }
    }
}

static int32_t read_rows(const struct glow_self *self, void *state,
                         const struct glow_data_read *request)
{
    const struct toy2d *toy = state;
    float *dst = request->dst[0];
    TRY(dataset_check_rows(self, request, toy->count));
    for (uint32_t i = 0; dst && i < request->n; i++, dst += 2) {
        double u[2], g[2], x[2] = { 0, 0 };
        uint64_t row = (uint64_t)request->index[i];
        self->host->random(toy->uniform_seed, row, GLOW_UNIFORM, u, 2);
        self->host->random(toy->gauss_seed, row, GLOW_GAUSS, g, 2);
        draw(toy->kind, toy->noise, u, g, x);
        dst[0] = (float)x[0];
        dst[1] = (float)x[1];
    }
    return GLOW_OK;
}

static const struct glow_dataset dataset = {
    GLOW_HEAD(struct glow_dataset, GLOW_DATASET, 1, "toy2d",
              "points of the plane from a known density: moons, rings and others", options,
              GLOW_COUNT(options)),
    .open = open_split,
    .close = free,
    .read = read_rows,
};

static const struct glow_desc *const descs[] = { &dataset.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "toy2d", "1", "", descs
};
