/* arguments.c - see arguments.h. */
#include "arguments.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ARGUMENTS = 32, FIRST_LONG = 256, HELP = FIRST_LONG + MAX_ARGUMENTS };

void overrides_free(struct overrides *o)
{
    bump_free(&o->memory);
    free(o->text);
    *o = (struct overrides){ 0 };
}

static glow_status add_override(struct overrides *o, const char *key, const char *value)
{
    const char **text = realloc(o->text, ((size_t)o->n + 1) * sizeof *text);
    if (!text) return fail_memory(sizeof *text, "arguments");
    o->text = text;
    text[o->n] = key ? bump_print(&o->memory, "%s=%s", key, value) : value;
    if (!text[o->n]) return fail_memory(strlen(value), "arguments");
    o->n++;
    return GLOW_OK;
}

static glow_status take(const struct command *c, const struct argument *a, char *value)
{
    char *end;
    switch (a->kind) {
    case ARGUMENT_FLAG: *(bool *)a->out = true; return GLOW_OK;
    case ARGUMENT_TEXT:
        if (!*value) return fail(GLOW_EINVAL, "%s --%s: the value is empty", c->name, a->name);
        *(const char **)a->out = value;
        return GLOW_OK;
    case ARGUMENT_OVERRIDE: return add_override(a->out, a->key, value);
    case ARGUMENT_COUNT: break;
    }
    errno = 0;
    intmax_t number = strtoimax(value, &end, 10);
    if (errno || end == value || *end || number < 0 || number > INT32_MAX)
        return fail(GLOW_EINVAL, "%s --%s %s: expected a whole number from 0 to %d", c->name,
                    a->name, value, INT32_MAX);
    *(int64_t *)a->out = number;
    return GLOW_OK;
}

static void print_help(const struct command *c, const struct argument *table, int n)
{
    printf("usage: glow %s %s\n\n%s.\n\n", c->name, c->usage, c->summary);
    for (int i = 0; i <= n; i++) {
        const struct argument help = { .name = "help", .letter = 'h', .help = "this text" };
        const struct argument *a = i < n ? &table[i] : &help;
        char left[64], letter[8] = "";
        if (a->letter) snprintf(letter, sizeof letter, "-%c, ", a->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, a->name, a->value ? " " : "",
                 a->value ? a->value : "");
        printf("  %-24s %s\n", left, a->help);
    }
    printf("\nexit codes: 0 done, 1 failed while running, 2 a mistake in the arguments, the\n"
           "configuration or a plug-in; `glow --help` says more\n");
}

/* The option that getopt stumbled over, as it was written. */
static const char *culprit(char **argv)
{
    static char letter[3] = "-";
    if (optopt > 0 && optopt < FIRST_LONG) {
        letter[1] = (char)optopt;
        return letter;
    }
    return argv[optind - 1];
}

int arguments_parse(const struct command *c, const struct argument *table, int n, int argc,
                    char **argv, int least, int most, int *first)
{
    struct option longs[MAX_ARGUMENTS + 2] = { 0 };
    char shorts[2 * MAX_ARGUMENTS + 4] = ":h", *s = shorts + 2;
    for (int i = 0; i < n; i++) {
        int has = table[i].kind == ARGUMENT_FLAG ? no_argument : required_argument;
        longs[i] = (struct option){ table[i].name, has, NULL, FIRST_LONG + i };
        if (!table[i].letter) continue;
        *s++ = table[i].letter;
        if (has) *s++ = ':';
    }
    longs[n] = (struct option){ "help", no_argument, NULL, HELP };
    opterr = 0;
    optind = 1;
    for (int code; (code = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        int i = code - FIRST_LONG;
        if (code == HELP || code == 'h') {
            print_help(c, table, n);
            return COMMAND_HELPED;
        }
        if (code == '?')
            return fail(GLOW_EINVAL,
                        "%s %s: no such option, or one that takes no value; `glow %s "
                        "--help` lists them",
                        c->name, culprit(argv), c->name);
        if (code == ':')
            return fail(GLOW_EINVAL, "%s %s: a value is missing", c->name, argv[optind - 1]);
        for (int k = 0; k < n && code < FIRST_LONG; k++)
            if (table[k].letter == code) i = k;
        TRY(take(c, &table[i], optarg));
    }
    *first = optind;
    if (argc - optind < least || (most >= 0 && argc - optind > most))
        return fail(GLOW_EINVAL, "%s: expected `glow %s %s`; see `glow %s --help`", c->name,
                    c->name, c->usage, c->name);
    return GLOW_OK;
}
