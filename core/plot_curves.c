/* plot_curves.c - losses over steps. A noisy series is drawn as the band between its smallest and
 * largest values, piece by piece, and as a moving average; so 100 and a million steps look alike,
 * and a file does not grow with the steps. */
#include "plot.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "plot_private.h"

enum { WIDTH = 720, HEIGHT = 420, LEFT = 66, RIGHT = 24, TOP = 48, BOTTOM = 54 };
enum { PIECES = 480, WINDOW = 12 /* pieces to each side that the average takes in */ };

/* Colours that those see apart who do not see all colours (Okabe & Ito). */
static const struct colour palette[] = {
    { 0.00, 0.45, 0.70 }, { 0.84, 0.37, 0.00 }, { 0.00, 0.62, 0.45 },
    { 0.80, 0.47, 0.65 }, { 0.34, 0.71, 0.91 }, { 0.90, 0.62, 0.00 },
};
enum { COLOURS = sizeof palette / sizeof palette[0] };

/* A series without what can't be drawn, in at most PIECES pieces of equally many values. */
struct curve {
    double *x, *y, *low, *high; /* mean place, mean, smallest, largest; one allocation, from x */
    double *smooth;
    int64_t n;
    double last;        /* what the legend shows */
    double quantile[2]; /* bounds of nearly all values */
};

static int compare(const void *a, const void *b)
{
    double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

static bool is_drawable(const struct plot_axes *axes, double x, double y)
{
    return isfinite(x) && isfinite(y) && (!axes->log_x || x > 0) && (!axes->log_y || y > 0);
}

/* The average over up to WINDOW pieces on either side. At the beginning, where losses fall steeply,
 * it looks less far, so that it does not bend away from the data. */
static void smooth(struct curve *curve)
{
    for (int64_t i = 0; i < curve->n; i++) {
        int64_t half = i / 4, first, last;
        double sum = 0;
        if (half > WINDOW) half = WINDOW;
        if (half > curve->n / 30) half = curve->n / 30;
        first = i - half;
        last = i + half < curve->n ? i + half : curve->n - 1;
        for (int64_t k = first; k <= last; k++) sum += curve->y[k];
        curve->smooth[i] = sum / (double)(last - first + 1);
    }
}

/* Behind the last of n values that belong to a piece: pieces have equally many values, on a log
 * axis equal shares of the axis as far as there are values. */
static int64_t piece_end(int64_t n, int64_t pieces, int64_t piece, bool log_x)
{
    if (piece + 1 == pieces) return n;
    double part = (double)(piece + 1) / (double)pieces;
    if (n == pieces) return piece + 1;
    return (int64_t)(log_x ? pow((double)n + 1, part) - 1 : part * (double)n);
}

/* Folds n values into pieces. */
static void fold(struct curve *curve, int64_t pieces, const double *x, const double *y, int64_t n,
                 bool log_x)
{
    for (int64_t piece = 0, begin = 0; piece < pieces; piece++) {
        int64_t end = piece_end(n, pieces, piece, log_x), k = curve->n;
        if (end == begin) continue;
        curve->low[k] = DBL_MAX;
        curve->high[k] = -DBL_MAX;
        for (int64_t i = begin; i < end; i++) {
            curve->x[k] += x[i] / (double)(end - begin);
            curve->y[k] += y[i] / (double)(end - begin);
            curve->low[k] = fmin(curve->low[k], y[i]);
            curve->high[k] = fmax(curve->high[k], y[i]);
        }
        curve->n++;
        begin = end;
    }
}

static glow_status make_curve(struct curve *curve, const char *path, const struct plot_axes *axes,
                              const struct plot_series *series)
{
    int64_t n = 0, pieces;
    memset(curve, 0, sizeof *curve);
    double *x = calloc((size_t)series->n * 2 + 1, sizeof *x), *y = x + series->n;
    if (!x) return fail_memory((size_t)series->n * 2 * sizeof *x, path);
    for (int64_t i = 0; i < series->n; i++)
        if (is_drawable(axes, series->x[i], series->y[i])) {
            x[n] = series->x[i];
            y[n++] = series->y[i];
        }
    pieces = series->style == PLOT_SMOOTHED && n > PIECES ? PIECES : n;
    curve->x = calloc((size_t)pieces * 5 + 1, sizeof *curve->x);
    if (!curve->x) {
        free(x);
        return fail_memory((size_t)pieces * 5 * sizeof *x, path);
    }
    curve->y = curve->x + pieces;
    curve->low = curve->y + pieces;
    curve->high = curve->low + pieces;
    curve->smooth = curve->high + pieces;
    fold(curve, pieces, x, y, n, axes->log_x);
    smooth(curve);
    if (n > 0) {
        curve->last = series->style == PLOT_SMOOTHED ? curve->smooth[curve->n - 1] : y[n - 1];
        qsort(y, (size_t)n, sizeof *y, compare);
        bool noisy = series->style == PLOT_SMOOTHED && !axes->log_y;
        curve->quantile[0] = y[noisy ? (int64_t)(0.002 * (double)(n - 1)) : 0];
        curve->quantile[1] = y[noisy ? (int64_t)(0.95 * (double)(n - 1)) : n - 1];
    }
    free(x);
    return GLOW_OK;
}

/* Ranges of both axes over all curves. Noisy series decide how high a linear y axis goes; the
 * others, such as a test loss at step 0, stretch it by a third at most. */
static void find_ranges(const struct plot_axes *axes, const struct plot_series *series,
                        const struct curve *curves, int n, struct scale *x, struct scale *y)
{
    double high = -DBL_MAX;
    x->low = y->low = DBL_MAX;
    x->high = y->high = -DBL_MAX;
    for (int i = 0; i < n; i++) {
        if (curves[i].n == 0) continue;
        x->low = fmin(x->low, curves[i].x[0]);
        x->high = fmax(x->high, curves[i].x[curves[i].n - 1]);
        y->low = fmin(y->low, curves[i].quantile[0]);
        y->high = fmax(y->high, curves[i].quantile[1]);
        if (series[i].style == PLOT_SMOOTHED) high = fmax(high, curves[i].quantile[1]);
    }
    if (high > y->low && !axes->log_y) y->high = fmin(y->high, y->low + 1.3 * (high - y->low));
    x->log = axes->log_x;
    y->log = axes->log_y;
    if (x->low > x->high) { /* nothing to draw: axes alone */
        x->low = y->low = axes->log_x || axes->log_y ? 1 : 0;
        x->high = y->high = 10;
    }
    if (y->log) {
        double room = fmax(pow(y->high / y->low, 0.05), 1.05);
        y->low /= room;
        y->high *= room;
    } else {
        double room = fmax(0.05 * (y->high - y->low), 1e-3 * fmax(fabs(y->high), 1e-3));
        y->low -= room;
        y->high += room;
    }
    if (x->low == x->high) {
        x->low = x->log ? x->low / 2 : x->low - 1;
        x->high = x->log ? x->high * 2 : x->high + 1;
    }
}

static void trace(struct canvas *canvas, const struct scale *x, const struct scale *y,
                  const struct curve *curve, const double *values)
{
    for (int64_t i = 0; i < curve->n; i++)
        cairo_line_to(canvas->cairo, plot_place(x, curve->x[i]), plot_place(y, values[i]));
}

static void draw_curve(struct canvas *canvas, const struct scale *x, const struct scale *y,
                       const struct curve *curve, enum plot_style style, struct colour colour)
{
    cairo_t *cairo = canvas->cairo;
    cairo_new_path(cairo);
    cairo_set_line_join(cairo, CAIRO_LINE_JOIN_ROUND);
    cairo_set_line_cap(cairo, CAIRO_LINE_CAP_ROUND);
    if (style == PLOT_SMOOTHED) {
        plot_colour(canvas, colour, 0.22);
        trace(canvas, x, y, curve, curve->high);
        for (int64_t i = curve->n - 1; i >= 0; i--)
            cairo_line_to(cairo, plot_place(x, curve->x[i]), plot_place(y, curve->low[i]));
        cairo_fill_preserve(
            cairo); /* a band; and its outline, without which single values vanish */
        cairo_set_line_width(cairo, 0.6);
        cairo_stroke(cairo);
    }
    plot_colour(canvas, colour, 1);
    cairo_set_line_width(cairo, style == PLOT_POINTS ? 1.4 : 1.8);
    trace(canvas, x, y, curve, style == PLOT_SMOOTHED ? curve->smooth : curve->y);
    cairo_stroke(cairo);
    for (int64_t i = 0; style == PLOT_POINTS && i < curve->n; i++) {
        cairo_arc(cairo, plot_place(x, curve->x[i]), plot_place(y, curve->y[i]), 3, 0,
                  2 * acos(-1));
        cairo_set_source_rgb(cairo, 1, 1, 1);
        cairo_fill_preserve(cairo);
        plot_colour(canvas, colour, 1);
        cairo_stroke(cairo);
    }
}

/* Names and last values at the top right, where falling curves leave room. */
static void draw_legend(struct canvas *canvas, const struct plot_series *series,
                        const struct curve *curves, int n)
{
    enum { ROW = 18, SIZE = 11 };
    cairo_t *cairo = canvas->cairo;
    char text[32];
    double right = WIDTH - RIGHT - 10, width = 0;
    for (int i = 0; i < n; i++)
        width = fmax(width, plot_text_width(canvas, SIZE, false, series[i].name));
    double left = right - width - 90;
    cairo_rectangle(cairo, left - 8, TOP + 2, WIDTH - RIGHT - left + 8, n * ROW + 8);
    cairo_set_source_rgba(cairo, 1, 1, 1, 0.85);
    cairo_fill(cairo);
    for (int i = 0; i < n; i++) {
        double y = TOP + 19 + i * ROW;
        plot_colour(canvas, palette[i % COLOURS], 1);
        cairo_set_line_width(cairo, 2);
        cairo_move_to(cairo, left, y - 4);
        cairo_line_to(cairo, left + 20, y - 4);
        cairo_stroke(cairo);
        if (series[i].style == PLOT_POINTS) {
            cairo_arc(cairo, left + 10, y - 4, 3, 0, 2 * acos(-1));
            cairo_set_source_rgb(cairo, 1, 1, 1);
            cairo_fill_preserve(cairo);
            plot_colour(canvas, palette[i % COLOURS], 1);
            cairo_set_line_width(cairo, 1.4);
            cairo_stroke(cairo);
        }
        plot_colour(canvas, ink, 1);
        plot_text(canvas, left + 28, y, PLOT_LEFT, SIZE, false, series[i].name);
        plot_colour(canvas, faded, 1);
        bool plain = fabs(curves[i].last) >= 0.1 && fabs(curves[i].last) < 1000;
        snprintf(text, sizeof text, plain ? "%.3f" : "%.4g", curves[i].last);
        if (curves[i].n > 0) plot_text(canvas, right, y, PLOT_RIGHT, SIZE, false, text);
    }
}

glow_status plot_curves(const char *path, const struct plot_axes *axes,
                        const struct plot_series *series, int n)
{
    struct canvas canvas;
    struct scale x = { .begin = LEFT, .end = WIDTH - RIGHT };
    struct scale y = { .begin = HEIGHT - BOTTOM, .end = TOP };
    struct curve *curves = calloc((size_t)n + 1, sizeof *curves);
    if (!curves) return fail_memory((size_t)n * sizeof *curves, path);
    glow_status status = GLOW_OK;
    for (int i = 0; i < n; i++) TRY_OUT(make_curve(&curves[i], path, axes, &series[i]));
    TRY_OUT(plot_canvas_open(&canvas, path, WIDTH, HEIGHT));
    find_ranges(axes, series, curves, n, &x, &y);
    plot_draw_axes(&canvas, &x, &y, true, axes->x_label, axes->y_label);
    if (axes->title) plot_text(&canvas, LEFT, TOP - 20, PLOT_LEFT, 13.5, true, axes->title);
    cairo_save(canvas.cairo);
    cairo_rectangle(canvas.cairo, LEFT - 4, TOP - 4, WIDTH - LEFT - RIGHT + 8,
                    HEIGHT - TOP - BOTTOM + 4);
    cairo_clip(canvas.cairo);
    for (int i = 0; i < n; i++)
        draw_curve(&canvas, &x, &y, &curves[i], series[i].style, palette[i % COLOURS]);
    cairo_restore(canvas.cairo);
    draw_legend(&canvas, series, curves, n);
    status = plot_canvas_close(&canvas, GLOW_OK);
out:
    for (int i = 0; i < n; i++) free(curves[i].x);
    free(curves);
    return status;
}
