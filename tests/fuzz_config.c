/* fuzz_config.c - no text may crash the reader of glow.cfg, and what it reads it must write so that
 * the same tree comes back. The first line is an override, the rest the configuration.
 *
 *   clang -fsanitize=fuzzer,address,undefined -Icore/include -iquote core tests/fuzz_config.c \
 *     core/{config,source,status,bump,range,literal,options,options_records}.c -lconfig -ljansson
 * -lm
 *
 * Compiled with -DMAIN it has a main that runs on the files of its command line, and without any on
 * mutations of a built-in text; `make check` runs that one. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "config.h"
#include "options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct glow_option records[] = {
    { .key = "bits", .help = "b", .dflt = "8", .range = "[1,8]", .type = GLOW_OPT_INT },
    { .key = "rate", .help = "r", .dflt = "1e-3", .range = "(0,inf)", .type = GLOW_OPT_REAL },
    { .key = "lu", .help = "l", .dflt = "true", .type = GLOW_OPT_BOOL },
    { .key = "path", .help = "p", .dflt = "", .type = GLOW_OPT_PATH },
    { .key = "widths",
      .help = "w",
      .dflt = "[64]",
      .range = "#[1,3] [1,100]",
      .type = GLOW_OPT_INTS },
    { .key = "tags", .help = "t", .dflt = "[]", .type = GLOW_OPT_STRINGS },
    { .key = "net", .help = "n", .dflt = "mlp", .type = GLOW_OPT_CHILD, .slot_kind = GLOW_NET },
};
static const struct glow_desc desc = { .size = sizeof desc,
                                       .kind = GLOW_LAYER,
                                       .id = "fuzz",
                                       .options = records,
                                       .n_options = GLOW_COUNT(records),
                                       .option_size = sizeof records[0] };

static void must(bool good, const char *what)
{
    if (good) return;
    fprintf(stderr, "%s: %s\n", what, fail_message());
    abort();
}

/* Checks the group as options, and what the options say of themselves. */
static void resolve(const struct config_node *group)
{
    struct options *options, *again;
    if (options_resolve(&options, &desc, group, NULL, "fuzz")) return;
    json_t *values = options_json(options);
    must(options_from_json(&again, &desc, values, 0, "fuzz") == GLOW_OK,
         "options do not come back");
    json_t *twice = options_json(again);
    must(json_equal(values, twice), "options changed");
    json_decref(values);
    json_decref(twice);
    options_free(options);
    options_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *config, *again;
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    note_level = 2;
    char *newline = strchr(text, '\n');
    /* a fuzzer must not read the files of this machine */
    if (newline && !strstr(text, "@include") &&
        config_parse(&config, newline + 1, "fuzz") == GLOW_OK) {
        *newline = '\0';
        (void)config_set(config, text);
        char *written = config_text(config);
        must(config_parse(&again, written, "written") == GLOW_OK, "written text does not parse");
        char *twice = config_text(again);
        must(!strcmp(written, twice), "written text changed");
        resolve(config_root(config));
        free(written);
        free(twice);
        config_free(again);
        config_free(config);
    }
    free(text);
    return 0;
}

#ifdef MAIN
static const char seed[] =
    "widths.[1]=2.5\n"
    "# comment\nbits = 5; rate = 1e-3; lu = false; path = \"~/a\\\"b\\x01\"; /* c */\n"
    "widths = [1, 20, 0x1F]; tags = (\"a\", \"b\"); net = { type = \"mlp\"; w = (1, { a = 2.5; }); "
    "};\n"
    "big = 5000000000; low = -9223372036854775808; // end\n";

static void run_file(const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(99);
    }
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    LLVMFuzzerTestOneInput(bytes, n);
}

int main(int argc, char **argv)
{
    static const char letters[] = "{}[]()\"\\;:,=.#/*-+eLx0195 \n\t@a\xff";
    uint64_t state = 88172645463325252u;
    for (int i = 1; i < argc; i++) run_file(argv[i]);
    for (int round = 0; argc < 2 && round < 20000; round++) {
        uint8_t text[2 * sizeof seed];
        size_t n = sizeof seed - 1;
        memcpy(text, seed, n);
        for (int edits = round % 6; edits >= 0; edits--) {
            state ^= state << 13; /* xorshift64 */
            state ^= state >> 7;
            state ^= state << 17;
            size_t at = state % n, from = (state >> 20) % n, length = (state >> 40) % 20;
            if (state >> 62 == 0) {
                text[at] = (uint8_t)letters[(state >> 32) % (sizeof letters - 1)];
            } else if (state >> 62 == 1 && n > 40) { /* leave some out */
                if (at + length > n) length = n - at;
                memmove(text + at, text + at + length, n - at - length);
                n -= length;
            } else if (from + length <= n && n + length < sizeof text) { /* repeat some */
                uint8_t part[20];
                memcpy(part, text + from, length);
                memmove(text + at + length, text + at, n - at);
                memcpy(text + at, part, length);
                n += length;
            }
        }
        LLVMFuzzerTestOneInput(text, n);
    }
    return 0;
}
#endif
