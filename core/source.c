/* source.c - reads configuration files. libconfig 1.5 resolves @include against one fixed
 * directory, gives up the process when that names a directory, and cuts integers to 32 bits without
 * a word. So this scanner, which knows strings, comments and numbers, puts includes in place
 * (relative to the file they stand in) and marks every integer with libconfig's suffix L. */
#include "source.h"
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 16 };
static const size_t max_size = 64u << 20;

struct scan { /* one text being scanned */
    struct source *out;
    const char *p, *end, *file;
    int line, depth;
};

static glow_status add_file(struct source *, const char *path, int depth);

static glow_status emit(struct source *s, const char *p, size_t n)
{
    if (s->n + n + 1 > s->cap) {
        size_t cap = (s->n + n + 1) * 2;
        if (cap > max_size) return fail(GLOW_EINVAL, "a configuration of more than 64 MiB");
        char *text = realloc(s->text, cap);
        if (!text) return fail_memory(cap, "configuration");
        s->text = text;
        s->cap = cap;
    }
    memcpy(s->text + s->n, p, n);
    s->n += n;
    s->text[s->n] = '\0';
    return GLOW_OK;
}

/* The output line that begins here comes from that line of the file. */
static glow_status begin_line(struct source *s, const char *file, int line)
{
    if (s->n_lines == s->cap_lines) {
        int cap = s->cap_lines * 2 + 64;
        struct source_line *lines = realloc(s->lines, (size_t)cap * sizeof *lines);
        if (!lines) return fail_memory((size_t)cap * sizeof *lines, "configuration");
        s->lines = lines;
        s->cap_lines = cap;
    }
    s->lines[s->n_lines++] = (struct source_line){ file, line };
    return GLOW_OK;
}

/* The first c in [p, end), or NULL. */
static const char *find(const char *p, const char *end, char c)
{
    while (p < end && *p != c) p++;
    return p < end ? p : NULL;
}

/* Copies the next n bytes as they are. */
static glow_status copy(struct scan *in, size_t n)
{
    for (const char *p = in->p; p < in->p + n; p++) {
        TRY(emit(in->out, p, 1));
        if (*p == '\n') TRY(begin_line(in->out, in->file, ++in->line));
    }
    in->p += n;
    return GLOW_OK;
}

/* The end of the string or comment that starts here; in->p when there is none, NULL when it has no
 * end. A line comment ends before the newline. */
static const char *skip_quoted(const struct scan *in)
{
    const char *p = in->p, *end = in->end;
    if (*p == '"') {
        for (p++; p < end && *p != '"'; p++)
            if (*p == '\\' && p + 1 < end) p++;
        return p < end ? p + 1 : NULL;
    }
    bool two = end - p > 1;
    if (*p == '#' || (two && p[0] == '/' && p[1] == '/')) {
        const char *newline = find(p, end, '\n');
        return newline ? newline : end;
    }
    if (!two || p[0] != '/' || p[1] != '*') return p;
    for (p += 2; p + 1 < end; p++)
        if (p[0] == '*' && p[1] == '/') return p + 2;
    return NULL;
}

/* Copies a number; an integer gets the suffix L, and one that 64 bits can't hold is an error. */
static glow_status copy_number(struct scan *in)
{
    const char *p = in->p;
    bool hex = p + 1 < in->end && p[0] == '0' && (p[1] == 'x' || p[1] == 'X');
    bool negative = in->out->n > 0 && in->out->text[in->out->n - 1] == '-';
    bool integer = true;
    for (; p < in->end && (isalnum((unsigned char)*p) || strchr(".+-", *p)); p++) {
        bool sign = *p == '+' || *p == '-';
        if (sign && (hex || (p[-1] != 'e' && p[-1] != 'E'))) break;
        if (!(hex ? isalnum((unsigned char)*p) : isdigit((unsigned char)*p)) && *p != 'L')
            integer = false;
    }
    size_t n = (size_t)(p - in->p);
    if (!integer) return copy(in, n);
    while (n > 1 && in->p[n - 1] == 'L') n--;
    char digits[32];
    errno = n < sizeof digits - 1 ? 0 : ERANGE;
    snprintf(digits, sizeof digits, "%s%.*s", negative ? "-" : "", (int)(n > 30 ? 30 : n), in->p);
    (void)strtoll(digits, NULL, hex ? 16 : 10);
    if (errno)
        return fail(GLOW_EINVAL, "%s:%d: the integer %.*s does not fit into 64 bits", in->file,
                    in->line, (int)(n > 60 ? 60 : n), in->p);
    TRY(copy(in, n));
    in->p = p;
    return emit(in->out, "L", 1);
}

/* The path of an include: relative to the directory of the file it stands in. */
static char *include_path(const struct scan *in, const char *name, size_t n)
{
    const char *slash = strrchr(in->file, '/');
    if (name[0] == '/' || !slash) return bump_print(in->out->memory, "%.*s", (int)n, name);
    return bump_print(in->out->memory, "%.*s/%.*s", (int)(slash - in->file), in->file, (int)n,
                      name);
}

/* At the start of a line: puts the file of an `@include "name"` in place of that line. */
static glow_status include(struct scan *in, bool *found)
{
    static const char word[] = "@include";
    const char *p = in->p;
    *found = false;
    while (p < in->end && (*p == ' ' || *p == '\t')) p++;
    if ((size_t)(in->end - p) < sizeof word || memcmp(p, word, sizeof word - 1)) return GLOW_OK;
    *found = true;
    p += sizeof word - 1;
    while (p < in->end && (*p == ' ' || *p == '\t')) p++;
    const char *newline = find(p, in->end, '\n');
    const char *stop = newline ? newline : in->end;
    const char *close = p < stop && *p == '"' ? find(p + 1, stop, '"') : NULL;
    if (!close || close == p + 1)
        return fail(GLOW_EINVAL, "%s:%d: expected @include \"file\"", in->file, in->line);
    char *path = include_path(in, p + 1, (size_t)(close - p - 1));
    if (!path) return fail_memory((size_t)(close - p), "configuration");
    if (in->depth == MAX_DEPTH)
        return fail(GLOW_EINVAL, "%s:%d: includes nest more than %d deep", in->file, in->line,
                    MAX_DEPTH);
    in->out->n_lines--; /* the included text begins this line */
    glow_status status = add_file(in->out, path, in->depth + 1);
    if (status) return fail_context(status, "%s:%d: @include", in->file, in->line);
    TRY(emit(in->out, "\n", 1));
    in->p = close + 1;
    return begin_line(in->out, in->file, in->line);
}

static glow_status scan(struct scan *in)
{
    bool at_start = true, found;
    TRY(begin_line(in->out, in->file, in->line));
    while (in->p < in->end) {
        if (at_start) {
            TRY(include(in, &found));
            at_start = false;
            continue;
        }
        const char *p = in->p, *end = skip_quoted(in);
        if (!end)
            return fail(GLOW_EINVAL, "%s:%d: the %s that begins here has no end", in->file,
                        in->line, *p == '"' ? "string" : "comment");
        if (end > p) {
            TRY(copy(in, (size_t)(end - p)));
        } else if (isdigit((unsigned char)*p)) {
            TRY(copy_number(in));
        } else if (isalpha((unsigned char)*p) || strchr("*_.", *p)) {
            while (p < in->end && (isalnum((unsigned char)*p) || strchr("*_-.", *p))) p++;
            TRY(copy(in, (size_t)(p - in->p)));
        } else {
            at_start = *p == '\n';
            TRY(copy(in, 1));
        }
    }
    return GLOW_OK;
}

static glow_status add_text(struct source *s, const char *text, size_t n, const char *name,
                            int depth)
{
    if (n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
        text += 3, n -= 3; /* some editors' UTF-8 mark */
    if (memchr(text, '\0', n)) return fail(GLOW_EINVAL, "%s: not a text file", name);
    char *file = bump_print(s->memory, "%s", name);
    if (!file) return fail_memory(strlen(name) + 1, "configuration");
    struct scan in = { s, text, text + n, file, 1, depth };
    return scan(&in);
}

static glow_status add_file(struct source *s, const char *path, int depth)
{
    glow_status status = GLOW_OK;
    char *text = NULL;
    size_t n = 0, cap = 0;
    struct stat info;
    FILE *f = fopen(path, "r");
    if (!f) return fail(GLOW_EIO, "%s: %s", path, strerror(errno));
    if (fstat(fileno(f), &info) == 0 && S_ISDIR(info.st_mode)) {
        status = fail(GLOW_EINVAL, "%s: is a directory, expected a configuration file", path);
        goto out;
    }
    for (;;) {
        if (n == cap) {
            cap = cap * 2 + 16384;
            char *larger = cap > max_size ? NULL : realloc(text, cap);
            if (!larger) {
                status = cap > max_size ? fail(GLOW_EINVAL, "%s: larger than 64 MiB", path)
                                        : fail_memory(cap, path);
                goto out;
            }
            text = larger;
        }
        size_t got = fread(text + n, 1, cap - n, f);
        n += got;
        if (got == 0) break;
    }
    status = ferror(f) ? fail(GLOW_EIO, "%s: %s", path, strerror(errno))
                       : add_text(s, text, n, path, depth);
out:
    free(text);
    fclose(f);
    return status;
}

glow_status source_add_file(struct source *s, const char *path) { return add_file(s, path, 0); }

glow_status source_add_text(struct source *s, const char *text, const char *name)
{
    return add_text(s, text, strlen(text), name, 0);
}

void source_free(struct source *s)
{
    free(s->text);
    free(s->lines);
}

struct source_line source_origin(const struct source *s, int line)
{
    if (s->n_lines == 0) return (struct source_line){ "", 0 };
    int i = line < 1 ? 0 : line > s->n_lines ? s->n_lines - 1 : line - 1;
    return s->lines[i];
}
