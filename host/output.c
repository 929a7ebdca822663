/* output.c - see output.h. */
#include "output.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "file.h"
#include "npy.h"
#include "picture.h"
#include "plot.h"

static bool is_image(const struct model *m) { return m->input.rank == 3 && m->input.dim[0] <= 4; }

size_t output_row_bytes(const struct model *m)
{
    return (size_t)model_dimensions(m) * dtype_size(m->real);
}

bool output_can_show(const struct model *m)
{
    return is_image(m) || (m->input.rank == 1 && m->input.dim[0] == 2);
}

glow_status output_check(struct output *o, const struct model *m, const char *png, const char *npy)
{
    bool nothing = !o->png && !o->npy && !o->images;
    if (nothing && output_can_show(m))
        o->png = png;
    else if (nothing)
        o->npy = npy;
    if (o->png && !output_can_show(m))
        return fail(GLOW_EINVAL,
                    "%s: only images and points of the plane make a picture; --npy writes numbers",
                    o->png);
    if (o->images && !is_image(m))
        return fail(GLOW_EINVAL, "%s: the rows are no images; --npy writes numbers", o->images);
    return GLOW_OK;
}

/* A number of the model's real type. */
static double number(const struct model *m, const void *x, int64_t i)
{
    return m->real == DT_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

/* Points of the plane: how many fall into each cell, as a density, with the points on top when they
 * are few. Covers [-4, 4]^2, or more when some lie outside of it. */
static glow_status show_points(const struct model *m, const char *path, const void *x, int64_t n)
{
    enum { CELLS = 80, FEW = 1000 };
    double reach = 4;
    double *density = calloc(CELLS * CELLS, sizeof *density),
           *points = malloc((size_t)n * 2 * sizeof *points);
    glow_status status;
    if (!density || !points) {
        status = fail_memory((size_t)n * 16, "picture");
        goto out;
    }
    for (int64_t i = 0; i < 2 * n; i++) {
        points[i] = number(m, x, i);
        if (isfinite(points[i])) reach = fmax(reach, fmin(fabs(points[i]), 40));
    }
    double cell = 2 * reach / CELLS;
    for (int64_t i = 0; i < n; i++) {
        double column = floor((points[2 * i] + reach) / cell),
               row = floor((points[2 * i + 1] + reach) / cell);
        if (column >= 0 && column < CELLS && row >= 0 && row < CELLS)
            density[(int)row * CELLS + (int)column] += 1 / ((double)n * cell * cell);
    }
    struct plot_map map = { .title = "samples",
                            .density = density,
                            .rows = CELLS,
                            .columns = CELLS,
                            .left = -reach,
                            .right = reach,
                            .bottom = -reach,
                            .top = reach,
                            .points = n <= FEW ? points : NULL,
                            .n_points = n <= FEW ? n : 0 };
    status = plot_density(path, &map);
out:
    free(density);
    free(points);
    return status;
}

glow_status output_show(const struct model *m, const char *path, const void *x, int64_t n,
                        int64_t columns)
{
    if (is_image(m)) {
        const struct picture_grid grid = { .columns = (int)columns, .gap = 1 };
        return picture_grid(path, x, m->real, n, m->input.dim[0], m->input.dim[1], m->input.dim[2],
                            &grid);
    }
    return show_points(m, path, x, n);
}

static glow_status write_images(const struct model *m, const char *dir, const void *x, int64_t n)
{
    char path[4200];
    const struct picture_grid one = { .columns = 1, .scale = 1 };
    TRY(file_make_directories(dir));
    for (int64_t i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%06" PRId64 ".png", dir, i);
        TRY(picture_grid(path, (const char *)x + (size_t)i * output_row_bytes(m), m->real, 1,
                         m->input.dim[0], m->input.dim[1], m->input.dim[2], &one));
    }
    return GLOW_OK;
}

bool output_finite(const struct model *m, const void *x, int64_t n)
{
    int64_t i = 0;
    while (i < n && isfinite(number(m, x, i))) i++;
    return i == n;
}

/* Warns of rows with NaN or Inf; a failure when all are. */
static glow_status check_finite(const struct model *m, const void *x, int64_t n)
{
    int64_t bad = 0, size = model_dimensions(m);
    for (int64_t i = 0; i < n; i++) {
        bad += !output_finite(m, (const char *)x + (size_t)i * output_row_bytes(m), size);
    }
    if (bad == n)
        return fail(GLOW_EIO,
                    "NaN or Inf in each of the %" PRId64
                    " rows, nothing is written: expected a model that `glow eval` finds finite, "
                    "and a temperature about 1",
                    n);
    if (bad) note(1, "NaN or Inf in %" PRId64 " of the %" PRId64 " rows", bad, n);
    return GLOW_OK;
}

glow_status output_write(const struct output *o, const struct model *m, const void *x, int64_t n)
{
    int64_t dim[GLOW_MAX_RANK + 1] = { n };
    for (int i = 0; i < m->input.rank; i++) dim[i + 1] = m->input.dim[i];
    TRY(check_finite(m, x, n));
    if (o->npy) {
        TRY(npy_write(o->npy, m->real == DT_F64 ? GLOW_F64 : GLOW_F32, m->input.rank + 1, dim, x));
        printf("%s\n", o->npy);
    }
    if (o->images) {
        TRY(write_images(m, o->images, x, n));
        printf("%s\n", o->images);
    }
    if (!o->png) return GLOW_OK;
    TRY(output_show(m, o->png, x, n, o->columns));
    printf("%s\n", o->png);
    return GLOW_OK;
}
