/* plot_private.h - the canvas that all plots share: a page that becomes SVG or PNG, and its axes.
 */
#ifndef CORE_PLOT_PRIVATE_H
#define CORE_PLOT_PRIVATE_H
#include <cairo.h>
#include "file.h"
#include "plot.h"

struct colour {
    double r, g, b;
};
static const struct colour ink = { 0.13, 0.13, 0.15 }, faded = { 0.42, 0.42, 0.45 },
                           hairline = { 0.90, 0.90, 0.91 };

struct canvas {
    cairo_t *cairo;
    struct file *file;
    const char *path;
    bool png;
    glow_status status; /* of writing */
};
/* A white page of width x height points; PNG files have two pixels a point. */
glow_status plot_canvas_open(struct canvas *, const char *path, double width, double height);
/* Writes the page out if status is GLOW_OK; frees. Returns the first error. */
glow_status plot_canvas_close(struct canvas *, glow_status status);

/* One axis: values low..high on points begin..end of the page. */
struct scale {
    double low, high, begin, end;
    bool log;
};
double plot_place(const struct scale *, double value);

enum { PLOT_MAX_TICKS = 24 };
/* Round values within the scale, at most about `wanted`; returns their number. */
int plot_ticks(const struct scale *, int wanted, double ticks[PLOT_MAX_TICKS]);
/* A tick's label: "0.5", "20k", "1e-05". step: between ticks, decides the digits; largest: of all
 * ticks, decides whether they count thousands or millions. */
const char *plot_tick_text(double value, double step, double largest, char *buf, size_t size);

void plot_colour(struct canvas *, struct colour, double alpha);
enum plot_anchor { PLOT_LEFT, PLOT_CENTRE, PLOT_RIGHT };
/* Text with its baseline at y. */
void plot_text(struct canvas *, double x, double y, enum plot_anchor, double size, bool bold,
               const char *text);
double plot_text_width(struct canvas *, double size, bool bold, const char *text);
/* Ticks with labels at the bottom and at the left, grid lines if wanted, axis titles. */
void plot_draw_axes(struct canvas *, const struct scale *x, const struct scale *y, bool grid,
                    const char *x_label, const char *y_label);
#endif
