/* arguments.h - a command's options as one table, from which the command line is parsed and --help
 * is printed. */
#ifndef HOST_ARGUMENTS_H
#define HOST_ARGUMENTS_H
#include <stdint.h>
#include "bump.h"
#include "command.h"

/* What the command line changes of the configuration. */
struct overrides {
    struct bump memory;
    const char **text; /* assignments for config_set, in order */
    int n;
    int64_t threads; /* not part of what is saved; 0: as the configuration says */
};
void overrides_free(struct overrides *);

enum argument_kind {
    ARGUMENT_FLAG,    /* bool */
    ARGUMENT_TEXT,    /* const char * */
    ARGUMENT_COUNT,   /* int64_t, 0 or more */
    ARGUMENT_OVERRIDE /* struct overrides: appends "<key>=<value>", or the value if key is NULL */
};
struct argument {
    const char *name; /* "threads" */
    char letter;      /* 't', or 0 */
    enum argument_kind kind;
    const char *value; /* "N", as --help shows it; NULL for flags */
    const char *help;
    void *out;
    const char *key; /* OVERRIDE */
};
#define ARGUMENT_SET(overrides)                                                                    \
    {                                                                                              \
        "set", 0, ARGUMENT_OVERRIDE, "KEY=VALUE",                                                  \
            "override a key of the configuration: --set data.batch=32; may be repeated",           \
            overrides, NULL                                                                        \
    }
#define ARGUMENT_THREADS(overrides)                                                                \
    {                                                                                              \
        "threads", 0, ARGUMENT_COUNT, "N",                                                         \
            "compute threads; default train.threads. Results do not depend on it",                 \
            &(overrides)->threads, NULL                                                            \
    }
#define ARGUMENT_RAW(raw)                                                                          \
    {                                                                                              \
        "raw", 0, ARGUMENT_FLAG, NULL, "the parameters themselves, not their moving average", raw, \
            NULL                                                                                   \
    }
#define ARGUMENT_SEED(overrides)                                                                   \
    {                                                                                              \
        "seed", 0, ARGUMENT_OVERRIDE, "N",                                                         \
            "of all random numbers; the same seed, the same result", overrides, "train.seed"       \
    }

/* Parses argv by the table of n; then the words that are no options are argv[*first] to argv[argc -
 * 1], at least `least` and at most `most` of them (-1: any number). COMMAND_HELPED after --help. */
int arguments_parse(const struct command *, const struct argument *table, int n, int argc,
                    char **argv, int least, int most, int *first);
#endif
