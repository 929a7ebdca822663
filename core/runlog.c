/* runlog.c - writing, cutting and reading log.jsonl. */
#include "runlog.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "file.h"

struct runlog {
    FILE *file;
    char *path;
};

/* ---------------------------------------------------------------- lines of a file */

/* The next line of a view, parsed; the caller decrefs. NULL at the end, and for a last line without
 * its end. A line that is damaged, which a crash of the machine may leave, is noted and comes as
 * null. *begin and *end are set to its place. */
static json_t *next_line(const struct file_view *view, size_t *begin, size_t *end, const char *path,
                         int64_t *number)
{
    *begin = *end;
    if (*begin >= view->size) return NULL;
    const unsigned char *newline = memchr(view->bytes + *begin, '\n', view->size - *begin);
    if (!newline) return NULL;
    *end = (size_t)(newline - view->bytes) + 1;
    ++*number;
    json_t *line = json_loadb((const char *)view->bytes + *begin, *end - *begin, 0, NULL);
    if (json_is_object(line)) return line;
    json_decref(line);
    note(1, "%s:%lld: not a JSON object; left out", path, (long long)*number);
    return json_null();
}

/* ---------------------------------------------------------------- writing */

/* Writes those lines of the log again that lie not behind step `resumed`. */
static glow_status cut(const char *path, int64_t resumed)
{
    glow_status status = GLOW_OK;
    struct file_view view;
    struct file *file = NULL;
    size_t begin, end = 0;
    int64_t number = 0;
    json_t *line;

    TRY(file_map(&view, path));
    TRY_OUT(file_create(&file, path));
    while ((line = next_line(&view, &begin, &end, path, &number))) {
        const json_t *step = json_object_get(line, "step");
        bool keep =
            json_is_object(line) && (!json_is_integer(step) || json_integer_value(step) <= resumed);
        json_decref(line);
        if (keep) TRY_OUT(file_write(file, view.bytes + begin, end - begin));
    }
    status = file_commit(file);
    file = NULL;
out:
    file_discard(file);
    file_unmap(&view);
    return status;
}

glow_status runlog_open(struct runlog **out, const char *path, int64_t resumed)
{
    glow_status status = GLOW_OK;
    FILE *there = resumed >= 0 ? fopen(path, "r") : NULL;
    struct runlog *log = calloc(1, sizeof *log);
    *out = NULL;
    if (!log) TRY_OUT(fail_memory(sizeof *log, path));
    if (there) TRY_OUT(cut(path, resumed));
    log->path = strdup(path);
    if (!log->path) TRY_OUT(fail_memory(strlen(path), path));
    log->file = fopen(path, resumed >= 0 ? "a" : "w");
    if (!log->file) TRY_OUT(fail(GLOW_EIO, "can't write %s: %s", path, strerror(errno)));
    *out = log;
    log = NULL;
out:
    if (there) fclose(there);
    runlog_close(log);
    return status;
}

static json_t *field_value(const struct runlog_field *field)
{
    if (field->text) return json_string(field->text);
    if (!isfinite(field->value)) return json_null();
    if (field->value == floor(field->value) && fabs(field->value) < 9007199254740992.0)
        return json_integer((json_int_t)field->value);
    return json_real(field->value);
}

glow_status runlog_write(struct runlog *log, const char *kind, int64_t step,
                         const struct runlog_field *fields, int n)
{
    glow_status status = GLOW_OK;
    char *text = NULL;
    json_t *line = json_object();
    int error = json_object_set_new(line, "kind", json_string(kind));
    if (step >= 0) error |= json_object_set_new(line, "step", json_integer(step));
    for (int i = 0; i < n; i++)
        if (json_object_set_new(line, fields[i].key, field_value(&fields[i])) != 0)
            TRY_OUT(fail(GLOW_EINVAL, "%s: the field \"%s\" is not UTF-8 text", log->path,
                         fields[i].key));
    if (!error) text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(12));
    if (!text) TRY_OUT(fail_memory(256, log->path));
    if (fprintf(log->file, "%s\n", text) < 0 || fflush(log->file) != 0)
        status = fail(GLOW_EIO, "can't write %s: %s", log->path, strerror(errno));
out:
    free(text);
    json_decref(line);
    return status;
}

void runlog_close(struct runlog *log)
{
    if (!log) return;
    if (log->file) fclose(log->file); /* every line has been flushed */
    free(log->path);
    free(log);
}

/* ---------------------------------------------------------------- reading */

static glow_status append(struct runlog_series *series, int64_t *room, double step, double value,
                          const char *path)
{
    if (series->n == *room) {
        size_t bytes = (size_t)(*room ? 2 * *room : 256) * sizeof(double);
        double *steps = realloc(series->step, bytes);
        if (steps) series->step = steps;
        double *values = steps ? realloc(series->value, bytes) : NULL;
        if (!values) return fail_memory(bytes, path);
        series->value = values;
        *room = (int64_t)(bytes / sizeof(double));
    }
    series->step[series->n] = step;
    series->value[series->n++] = value;
    return GLOW_OK;
}

glow_status runlog_read(struct runlog_series *series, const char *path, const char *kind,
                        const char *key)
{
    glow_status status = GLOW_OK;
    struct file_view view;
    size_t begin, end = 0;
    int64_t number = 0, room = 0;
    json_t *line;

    memset(series, 0, sizeof *series);
    TRY(file_map(&view, path));
    while (status == GLOW_OK && (line = next_line(&view, &begin, &end, path, &number))) {
        const char *its_kind = json_string_value(json_object_get(line, "kind"));
        const json_t *step = json_object_get(line, "step"), *value = json_object_get(line, key);
        if (its_kind && strcmp(its_kind, kind) == 0 && json_is_integer(step) &&
            json_is_number(value))
            status = append(series, &room, (double)json_integer_value(step),
                            json_number_value(value), path);
        json_decref(line);
    }
    file_unmap(&view);
    if (status != GLOW_OK) runlog_series_free(series);
    return status;
}

void runlog_series_free(struct runlog_series *series)
{
    free(series->step);
    free(series->value);
    memset(series, 0, sizeof *series);
}
