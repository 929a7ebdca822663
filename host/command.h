/* command.h - what a command of `glow` is. Each has a file of its own with one constant; main.c
 * lists them. Results go to stdout, everything else to stderr. */
#ifndef HOST_COMMAND_H
#define HOST_COMMAND_H
#include "status.h"

/* What `run` can return besides a glow_status. */
enum {
    COMMAND_FAILED =
        1, /* nobody's mistake, with a recorded message: training gave up, a check failed */
    COMMAND_HELPED = 2 /* --help was printed: nothing else is to be done, successfully */
};

struct command {
    const char *name, *summary; /* "train", "train the model of a configuration" */
    const char *usage;          /* "CFG [OPTION...]" */
    int (*run)(const struct command *, int argc, char **argv); /* argv[0] is the name */
};

extern const struct command bench_command, check_command, decode_command, encode_command,
    eval_command, info_command, interpolate_command, plugins_command, sample_command, score_command,
    train_command;
#endif
