/* main.c - the program `glow`: its commands, signals and exit codes. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"

static const struct command *const commands[] = {
    &train_command,   &eval_command,  &sample_command,      &encode_command,
    &decode_command,  &score_command, &interpolate_command, &info_command,
    &plugins_command, &check_command, &bench_command,
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

enum { EXIT_RUN = 1, EXIT_MISTAKE = 2 };

static void print_help(FILE *f)
{
    fputs("usage: glow COMMAND [ARGUMENT...]\n\n"
          "Trains and runs normalizing flows that a configuration file describes.\n\n",
          f);
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(f, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n`glow COMMAND --help` explains one; `glow info` with the id of a plug-in, or with\n"
          "train, optimizer, sample or data, prints the keys of the configuration.\n\n"
          "Results go to stdout, progress and messages to stderr. Ctrl-C (or SIGTERM) stops "
          "training\n"
          "after the current step and saves a checkpoint; a second one kills.\n\n"
          "exit codes\n"
          "  0  done\n"
          "  1  failed while running: files, memory, training gave up or was stopped, a check "
          "failed\n"
          "  2  a mistake in the arguments, the configuration or a plug-in\n\n"
          "environment\n"
          "  GLOW_PLUGIN_PATH  directories of plug-ins, searched first, separated by colons\n"
          "  GLOW_CPU          instruction set of the kernels: avx512bf16, avx512, avx2 or base\n"
          "  GLOW_BACKEND      what train.backend = \"auto\" takes: cpu or cuda\n"
          "  GLOW_BACKEND_PATH directories of glow-cuda.so, searched first\n"
          "  GLOW_CUDA_MATH    products of fp32 numbers on a GPU: fp32 or tf32\n"
          "  GLOW_CUDA_CHECK   1: wait after each operation on a GPU, and name the one that fails\n"
          "  GLOW_CACHE_DIR    decoded data sets; default ~/.cache/glow\n",
          f);
}

/* The first signal asks, the second kills. */
static void on_signal(int number)
{
    if (cancel_requested) {
        signal(number, SIG_DFL);
        raise(number);
    }
    cancel_requested = 1;
}

static void catch_signals(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file that grows beyond a limit: write() says so */
}

static int exit_code(int result)
{
    switch (result) {
    case GLOW_OK:
    case COMMAND_HELPED: return EXIT_SUCCESS;
    case GLOW_EINVAL:
    case GLOW_ENOTSUP: return EXIT_MISTAKE;
    default: return EXIT_RUN;
    }
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return GLOW_EINVAL;
    }
    const char *name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        print_help(stdout);
        return GLOW_OK;
    }
    if (!strcmp(name, "--version")) {
        printf("glow " PACKAGE_VERSION "\n");
        return GLOW_OK;
    }
    for (int i = 0; i < N_COMMANDS; i++)
        if (!strcmp(name, commands[i]->name))
            return commands[i]->run(commands[i], argc - 1, argv + 1);
    return fail(GLOW_EINVAL, "no command \"%s\"; `glow --help` lists them", name);
}

int main(int argc, char **argv)
{
    catch_signals();
    int result = run(argc, argv);
    if ((fflush(stdout) || ferror(stdout)) && result == GLOW_OK)
        result = fail(GLOW_EIO, "writing to stdout failed");
    if (result != GLOW_OK && result != COMMAND_HELPED && *fail_message())
        fprintf(stderr, "glow: error: %s\n", fail_message());
    exit(exit_code(result));
}
