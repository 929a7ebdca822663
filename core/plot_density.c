/* plot_density.c - a density of the plane as colours, its points on top, a colour bar beside it. */
#include "plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "plot_private.h"

enum { SIDE = 420, LEFT = 62, TOP = 44, BOTTOM = 40, BAR_GAP = 18, BAR = 12, RIGHT = 74 };
enum { LARGEST = 4096 };

/* The colours of matplotlib's "viridis" at nine places: light rises evenly from low to high. */
static const struct colour viridis[] = {
    { 0.267, 0.005, 0.329 }, { 0.279, 0.175, 0.483 }, { 0.230, 0.322, 0.546 },
    { 0.173, 0.449, 0.558 }, { 0.128, 0.567, 0.551 }, { 0.158, 0.684, 0.502 },
    { 0.369, 0.789, 0.383 }, { 0.678, 0.864, 0.190 }, { 0.993, 0.906, 0.144 },
};
enum { STOPS = sizeof viridis / sizeof viridis[0] };

/* A pixel of CAIRO_FORMAT_RGB24 for a value in [0,1]. */
static uint32_t colour_of(double value)
{
    double place = fmin(fmax(value, 0), 1) * (STOPS - 1);
    int i = place >= STOPS - 1 ? STOPS - 2 : (int)place;
    double t = place - i;
    const struct colour *a = &viridis[i], *b = &viridis[i + 1];
    uint32_t r = (uint32_t)(255 * (a->r + t * (b->r - a->r)) + 0.5);
    uint32_t g = (uint32_t)(255 * (a->g + t * (b->g - a->g)) + 0.5);
    uint32_t blue = (uint32_t)(255 * (a->b + t * (b->b - a->b)) + 0.5);
    return r << 16 | g << 8 | blue;
}

static int compare(const void *a, const void *b)
{
    double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

/* The value that the brightest colour stands for: nearly the largest, so that a single peak does
 * not leave everything else dark. Values that are not finite count as 0. */
static glow_status find_top(const struct plot_map *map, const char *path, double *top)
{
    int64_t n = map->rows * map->columns;
    double *sorted = malloc((size_t)n * sizeof *sorted);
    if (!sorted) return fail_memory((size_t)n * sizeof *sorted, path);
    for (int64_t i = 0; i < n; i++) sorted[i] = isfinite(map->density[i]) ? map->density[i] : 0;
    qsort(sorted, (size_t)n, sizeof *sorted, compare);
    *top = sorted[(int64_t)(0.999 * (double)(n - 1))];
    if (!(*top > 0)) *top = sorted[n - 1];
    if (!(*top > 0)) *top = 1;
    free(sorted);
    return GLOW_OK;
}

/* An image of the values given by `at`, spread over a rectangle of the page. */
static void paint(struct canvas *canvas, int columns, int rows, const double *values, double top,
                  double x, double y, double width, double height)
{
    cairo_t *cairo = canvas->cairo;
    cairo_surface_t *image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, columns, rows);
    unsigned char *pixels = cairo_image_surface_get_data(image); /* NULL after an error */
    int stride = cairo_image_surface_get_stride(image);
    for (int row = 0; pixels && row < rows; row++)
        for (int column = 0; column < columns; column++) {
            double v = values[(int64_t)(rows - 1 - row) * columns + column];
            uint32_t pixel = colour_of(isfinite(v) ? v / top : 0);
            memcpy(pixels + (size_t)row * (size_t)stride + 4 * (size_t)column, &pixel, 4);
        }
    cairo_surface_mark_dirty(image);
    cairo_save(cairo);
    cairo_rectangle(cairo, x, y, width, height);
    cairo_clip(cairo);
    cairo_translate(cairo, x, y);
    cairo_scale(cairo, width / columns, height / rows);
    cairo_set_source_surface(cairo, image, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cairo), CAIRO_FILTER_GOOD);
    cairo_pattern_set_extend(cairo_get_source(cairo), CAIRO_EXTEND_PAD);
    cairo_paint(cairo);
    cairo_restore(cairo);
    cairo_surface_destroy(image);
}

static void draw_points(struct canvas *canvas, const struct plot_map *map, const struct scale *x,
                        const struct scale *y)
{
    cairo_t *cairo = canvas->cairo;
    double radius = map->n_points > 5000 ? 0.5 : map->n_points > 1000 ? 0.8 : 1.3;
    cairo_save(cairo);
    cairo_rectangle(cairo, x->begin, y->end, x->end - x->begin, y->begin - y->end);
    cairo_clip(cairo);
    cairo_set_source_rgba(cairo, 1, 1, 1, 0.65);
    for (int64_t i = 0; i < map->n_points; i++) {
        double a = map->points[2 * i], b = map->points[2 * i + 1];
        if (!isfinite(a) || !isfinite(b)) continue;
        cairo_arc(cairo, plot_place(x, a), plot_place(y, b), radius, 0, 2 * acos(-1));
        cairo_fill(cairo);
    }
    cairo_restore(cairo);
}

static void draw_bar(struct canvas *canvas, double top, double left, double begin, double end)
{
    double shades[256], ticks[PLOT_MAX_TICKS];
    char text[32];
    struct scale scale = { .low = 0, .high = top, .begin = begin, .end = end };
    for (int i = 0; i < 256; i++) shades[i] = i / 255.0 * top;
    paint(canvas, 1, 256, shades, top, left, end, BAR, begin - end);
    int n = plot_ticks(&scale, 5, ticks);
    plot_colour(canvas, ink, 1);
    for (int i = 0; i < n; i++) {
        double at = plot_place(&scale, ticks[i]);
        cairo_set_line_width(canvas->cairo, 0.8);
        cairo_move_to(canvas->cairo, left + BAR, at);
        cairo_line_to(canvas->cairo, left + BAR + 4, at);
        cairo_stroke(canvas->cairo);
        plot_text(
            canvas, left + BAR + 8, at + 3.8, PLOT_LEFT, 10, false,
            plot_tick_text(ticks[i], n > 1 ? ticks[1] - ticks[0] : top, top, text, sizeof text));
    }
    plot_text(canvas, left + BAR / 2.0, end - 8, PLOT_CENTRE, 10, false, "p(x)");
}

glow_status plot_density(const char *path, const struct plot_map *map)
{
    struct canvas canvas;
    double across = map->right - map->left, up = map->top - map->bottom, top = 1;
    if (map->rows < 1 || map->columns < 1 || map->rows > LARGEST || map->columns > LARGEST ||
        !(across > 0) || !(up > 0) || !isfinite(across) || !isfinite(up) ||
        (map->points == NULL && map->n_points > 0))
        return fail(GLOW_EINVAL, "%s: a density of %lld x %lld values over %g x %g can't be drawn",
                    path, (long long)map->columns, (long long)map->rows, across, up);
    TRY(find_top(map, path, &top));
    /* The longer side has SIDE points; the other as many as the proportions say, but not too few.
     */
    double width = SIDE * fmax(fmin(across / up, 1), 0.25),
           height = SIDE * fmax(fmin(up / across, 1), 0.25);
    struct scale x = { map->left, map->right, LEFT, LEFT + width, false };
    struct scale y = { map->bottom, map->top, TOP + height, TOP, false };
    TRY(plot_canvas_open(&canvas, path, LEFT + width + BAR_GAP + BAR + RIGHT,
                         TOP + height + BOTTOM));
    paint(&canvas, (int)map->columns, (int)map->rows, map->density, top, LEFT, TOP, width, height);
    if (map->points) draw_points(&canvas, map, &x, &y);
    plot_draw_axes(&canvas, &x, &y, false, NULL, NULL);
    plot_colour(&canvas, ink, 1);
    cairo_set_line_width(canvas.cairo, 0.8);
    cairo_rectangle(canvas.cairo, LEFT, TOP, width, height);
    cairo_stroke(canvas.cairo);
    if (map->title) plot_text(&canvas, LEFT, TOP - 16, PLOT_LEFT, 13, true, map->title);
    draw_bar(&canvas, top, LEFT + width + BAR_GAP, TOP + height, TOP);
    return plot_canvas_close(&canvas, GLOW_OK);
}
