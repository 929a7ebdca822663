/* plot.h - pictures of a run, as SVG or PNG by the file's extension: curves over steps, and a
 * density of the plane with points. Written atomically (file.h). */
#ifndef CORE_PLOT_H
#define CORE_PLOT_H
#include <stdbool.h>
#include "status.h"

enum plot_style {
    PLOT_LINE,
    PLOT_SMOOTHED, /* the values faint, their moving average strong: noisy training losses */
    PLOT_POINTS    /* a line with a mark on each value: a test loss now and then */
};
struct plot_series {
    const char *name;
    const double *x, *y; /* n of them, x ascending; values that are not finite are left out */
    int64_t n;
    enum plot_style style;
};
struct plot_axes {
    const char *title, *x_label, *y_label; /* NULL: none */
    bool log_x, log_y;                     /* values that are not positive are then left out */
};
/* Curves with a legend that shows the last value of each. A linear y axis does not stretch to the
 * first few losses of an untrained model: they leave the picture at the top. */
glow_status plot_curves(const char *path, const struct plot_axes *, const struct plot_series *,
                        int n);

struct plot_map {
    const char *title;     /* NULL: none */
    const double *density; /* (rows, columns), row 0 at the bottom; not negative */
    int64_t rows, columns;
    double left, right, bottom, top; /* the part of the plane that the density covers */
    const double *points;            /* (n_points, 2), drawn on top; NULL: none */
    int64_t n_points;
};
/* A density as colours, with axes and a colour bar. */
glow_status plot_density(const char *path, const struct plot_map *);
#endif
