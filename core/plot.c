/* plot.c - the page, its text, and axes with round ticks, through cairo. Text is in cairo's
 * built-in font: a plot is the same on every machine and needs no fonts, nor the search for them.
 */
#include "plot.h"

#include <cairo-svg.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "plot_private.h"

#define RESOLUTION   2.0 /* pixels a point, for PNG */
#define LABEL_SIZE   10.5
#define LINEAR_BELOW 0.7 /* decades: a shorter log axis has ticks at even steps */

#ifdef __SANITIZE_ADDRESS__
/* Fontconfig, which cairo asks for fonts, keeps things for the life of the process behind pointers
 * that the leak sanitizer does not understand. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libfontconfig\n"; }
#endif

/* ---------------------------------------------------------------- the page */

static cairo_status_t write_bytes(void *closure, const unsigned char *bytes, unsigned n)
{
    struct canvas *canvas = closure;
    if (canvas->status == GLOW_OK) canvas->status = file_write(canvas->file, bytes, n);
    return canvas->status == GLOW_OK ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

glow_status plot_canvas_open(struct canvas *canvas, const char *path, double width, double height)
{
    const char *dot = strrchr(path, '.');
    cairo_surface_t *surface;
    memset(canvas, 0, sizeof *canvas);
    canvas->path = path;
    canvas->png = dot && strcmp(dot, ".png") == 0;
    if (!canvas->png && (!dot || strcmp(dot, ".svg") != 0))
        return fail(GLOW_EINVAL, "%s: a plot is a file whose name ends in .svg or .png", path);
    TRY(file_create(&canvas->file, path));
    if (canvas->png)
        surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)(width * RESOLUTION),
                                             (int)(height * RESOLUTION));
    else
        surface = cairo_svg_surface_create_for_stream(write_bytes, canvas, width, height);
    canvas->cairo = cairo_create(surface); /* an error stays with it until plot_canvas_close */
    cairo_surface_destroy(surface);
    if (canvas->png) cairo_scale(canvas->cairo, RESOLUTION, RESOLUTION);
    cairo_set_source_rgb(canvas->cairo, 1, 1, 1);
    cairo_paint(canvas->cairo);
    return GLOW_OK;
}

glow_status plot_canvas_close(struct canvas *canvas, glow_status status)
{
    cairo_surface_t *surface = cairo_surface_reference(cairo_get_target(canvas->cairo));
    if (status == GLOW_OK && canvas->png)
        cairo_surface_write_to_png_stream(surface, write_bytes, canvas);
    cairo_surface_finish(surface); /* writes an SVG out */
    cairo_status_t error = cairo_status(canvas->cairo);
    if (error == CAIRO_STATUS_SUCCESS) error = cairo_surface_status(surface);
    if (status == GLOW_OK) status = canvas->status;
    if (status == GLOW_OK && error != CAIRO_STATUS_SUCCESS)
        status = fail(error == CAIRO_STATUS_NO_MEMORY ? GLOW_ENOMEM : GLOW_EINVAL,
                      "can't draw %s: %s", canvas->path, cairo_status_to_string(error));
    cairo_destroy(canvas->cairo);
    cairo_surface_destroy(surface);
    if (status == GLOW_OK) return file_commit(canvas->file);
    file_discard(canvas->file);
    return status;
}

void plot_colour(struct canvas *canvas, struct colour c, double alpha)
{
    cairo_set_source_rgba(canvas->cairo, c.r, c.g, c.b, alpha);
}

double plot_text_width(struct canvas *canvas, double size, bool bold, const char *text)
{
    cairo_text_extents_t extents;
    cairo_select_font_face(canvas->cairo, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(canvas->cairo, size);
    cairo_text_extents(canvas->cairo, text, &extents);
    return extents.x_advance;
}

void plot_text(struct canvas *canvas, double x, double y, enum plot_anchor anchor, double size,
               bool bold, const char *text)
{
    double width = plot_text_width(canvas, size, bold, text); /* chooses the font, too */
    double shift = anchor == PLOT_LEFT ? 0 : anchor == PLOT_CENTRE ? 0.5 : 1;
    cairo_move_to(canvas->cairo, x - shift * width, y);
    cairo_show_text(canvas->cairo, text);
}

/* ---------------------------------------------------------------- axes */

double plot_place(const struct scale *s, double value)
{
    double part = s->log ? log(value / s->low) / log(s->high / s->low)
                         : (value - s->low) / (s->high - s->low);
    return s->begin + part * (s->end - s->begin);
}

/* The smallest of 1, 2, 5 times a power of ten that is at least `least`. */
static double round_step(double least)
{
    double power = pow(10, floor(log10(least))), part = least / power;
    return power * (part <= 1.0000001 ? 1 : part <= 2.0000001 ? 2 : part <= 5.0000001 ? 5 : 10);
}

static int linear_ticks(const struct scale *s, int wanted, double ticks[PLOT_MAX_TICKS])
{
    int n = 0;
    double step = round_step((s->high - s->low) / wanted), slack = step * 1e-6;
    for (double k = ceil((s->low - slack) / step);
         k * step <= s->high + slack && n < PLOT_MAX_TICKS; k++)
        ticks[n++] = k * step + 0.0; /* not -0 */
    return n;
}

/* Powers of ten; with 2 and 5 between them, or fewer powers, as there is room. */
static int log_ticks(const struct scale *s, int wanted, double ticks[PLOT_MAX_TICKS])
{
    static const double between[] = { 1, 2, 5 };
    double low = log10(s->low), high = log10(s->high);
    int n = 0, step = (int)ceil((high - low) / wanted);
    if (high - low < LINEAR_BELOW) return linear_ticks(s, wanted, ticks);
    int parts = (high - low) * 3 <= wanted ? 3 : 1;
    for (int power = (int)floor(low); power <= high; power++)
        for (int i = 0; i < parts; i++) {
            double value = between[i] * pow(10, power);
            if (power % (step > 0 ? step : 1) == 0 && value >= s->low * (1 - 1e-9) &&
                value <= s->high * (1 + 1e-9) && n < PLOT_MAX_TICKS)
                ticks[n++] = value;
        }
    return n;
}

int plot_ticks(const struct scale *s, int wanted, double ticks[PLOT_MAX_TICKS])
{
    return s->log ? log_ticks(s, wanted, ticks) : linear_ticks(s, wanted, ticks);
}

const char *plot_tick_text(double value, double step, double largest, char *buf, size_t size)
{
    double a = fabs(value), unit = largest >= 1e9   ? 1
                                   : largest >= 1e6 ? 1e6
                                   : largest >= 1e4 ? 1e3
                                                    : 1;
    const char *sign = value < 0 ? "\xe2\x88\x92" : ""; /* a true minus, as wide as a plus */
    int digits = (int)ceil(-log10(step / unit) - 1e-9);
    if (a < 1e-9 * step)
        snprintf(buf, size, "0");
    else if (largest >= 1e9 || largest < 1e-3)
        snprintf(buf, size, "%s%.3g", sign, a);
    else
        snprintf(buf, size, "%s%.*f%s", sign, digits > 0 ? digits : 0, a / unit,
                 unit == 1e6   ? "M"
                 : unit == 1e3 ? "k"
                               : "");
    return buf;
}

static void line(struct canvas *canvas, double x0, double y0, double x1, double y1)
{
    cairo_move_to(canvas->cairo, x0, y0);
    cairo_line_to(canvas->cairo, x1, y1);
    cairo_stroke(canvas->cairo);
}

/* The label of tick i of n. Ticks that are powers of ten have each their own digits and unit. */
static const char *label(const struct scale *s, const double *ticks, int n, int i, char *buf,
                         size_t size)
{
    if (s->log && log10(s->high / s->low) >= LINEAR_BELOW)
        return plot_tick_text(ticks[i], pow(10, floor(log10(ticks[i]) + 1e-9)), ticks[i], buf,
                              size);
    double step = n > 1 ? ticks[1] - ticks[0] : fmax(fabs(ticks[i]), 1);
    return plot_tick_text(ticks[i], step, fmax(fabs(ticks[0]), fabs(ticks[n - 1])), buf, size);
}

void plot_draw_axes(struct canvas *canvas, const struct scale *x, const struct scale *y, bool grid,
                    const char *x_label, const char *y_label)
{
    double ticks[PLOT_MAX_TICKS];
    char text[32];
    cairo_t *cairo = canvas->cairo;
    int n = plot_ticks(y, 6, ticks);
    cairo_set_line_width(cairo, 0.8);
    for (int i = 0; i < n; i++) {
        double at = plot_place(y, ticks[i]);
        plot_colour(canvas, grid ? hairline : ink, 1);
        line(canvas, grid ? x->begin : x->begin - 4, at, grid ? x->end : x->begin, at);
        plot_colour(canvas, ink, 1);
        plot_text(canvas, x->begin - 8, at + 0.36 * LABEL_SIZE, PLOT_RIGHT, LABEL_SIZE, false,
                  label(y, ticks, n, i, text, sizeof text));
    }
    n = plot_ticks(x, 7, ticks);
    for (int i = 0; i < n; i++) {
        double at = plot_place(x, ticks[i]);
        line(canvas, at, y->begin, at, y->begin + 4);
        plot_text(canvas, at, y->begin + 8 + LABEL_SIZE, PLOT_CENTRE, LABEL_SIZE, false,
                  label(x, ticks, n, i, text, sizeof text));
    }
    line(canvas, x->begin, y->begin, x->end, y->begin);
    if (x_label)
        plot_text(canvas, (x->begin + x->end) / 2, y->begin + 38, PLOT_CENTRE, 11.5, false,
                  x_label);
    if (y_label) {
        cairo_save(cairo);
        cairo_translate(cairo, x->begin - 48, (y->begin + y->end) / 2);
        cairo_rotate(cairo, -acos(-1) / 2);
        plot_text(canvas, 0, 0, PLOT_CENTRE, 11.5, false, y_label);
        cairo_restore(cairo);
    }
}
