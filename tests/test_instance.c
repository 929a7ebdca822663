/* test_instance.c - instances and what their callbacks get from the host: options, children, random
 * numbers, the cache directory, errors with an address. */
#include <check.h>
#undef fail /* a macro of check.h; status.h has a function */
#include <sys/stat.h>
#include "compile.h"
#include "instance.h"
#include "philox.h"
#include "scratch.h"

static struct registry *registry;
static struct config *config;
static const char *const also[] = { "layer", NULL };

static void setup(void)
{
    compile_plugin("abi/plugin.c", scratch_path("plugin.so"), "");
    unsetenv("GLOW_PLUGIN_PATH");
    ck_assert_int_eq(registry_open(&registry, NULL), GLOW_OK);
    ck_assert_msg(registry_load_file(registry, scratch_path("plugin.so")) == GLOW_OK, "%s",
                  fail_message());
}

static void teardown(void)
{
    registry_free(registry);
    config_free(config);
    registry = NULL;
    config = NULL;
}

static glow_status make(struct instance **out, const char *members)
{
    char text[1000];
    snprintf(text, sizeof text, "flow = (\n{ layer = \"abi-layer\"; %s });", members);
    config_free(config);
    ck_assert_msg(config_parse(&config, text, "i.cfg") == GLOW_OK, "%s", fail_message());
    return instance_new(out, registry, GLOW_LAYER, "abi-layer", config_find(config, "flow[0]"),
                        also, "level.0.abi", 7);
}

static struct instance *made(const char *members)
{
    struct instance *i;
    ck_assert_msg(make(&i, members) == GLOW_OK, "%s", fail_message());
    return i;
}

static void ck_message(const char *part)
{
    ck_assert_msg(strstr(fail_message(), part) != NULL, "\"%s\" lacks \"%s\"", fail_message(),
                  part);
}

START_TEST(host_options)
{
    struct instance *i =
        made("count = 4; lr = 2; form = \"tanh\"; sizes = [7]; tags = [\"x\", \"y\"];");
    const struct glow_self *self = &i->self;
    const struct glow_host *host = self->host;
    ck_assert_uint_eq(host->size, sizeof *host);
    ck_assert_uint_eq(host->minor, GLOW_ABI_MINOR);
    ck_assert_ptr_null(host->get(host, "control/1"));
    ck_assert_str_eq(self->path, "level.0.abi");
    ck_assert(instance_of(self) == i);
    ck_assert_int_eq(host->opt_int(self, "count"), 4);
    ck_assert_int_eq(host->opt_int(self, "on"), 1);
    ck_assert_double_eq(host->opt_real(self, "rate"), 2.0);
    ck_assert_double_eq(host->opt_real(self, "count"), 4.0);
    ck_assert_str_eq(host->opt_string(self, "form"), "tanh");
    ck_assert_str_eq(host->opt_string(self, "net"), "abi-net");
    ck_assert_str_eq(host->opt_string(self, "prior"), "");
    ck_assert_int_eq(host->opt_count(self, "tags"), 2);
    ck_assert_double_eq(host->opt_real_at(self, "sizes", 0), 7.0);
    ck_assert_str_eq(host->opt_string_at(self, "tags", 1), "y");
    ck_assert_int_eq(i->status, GLOW_OK);
    ck_assert_double_eq(host->opt_real(self, "gain"), 0.0);
    ck_assert_int_eq(i->status, GLOW_EINVAL);
    ck_message("level.0.abi (abi-layer, ");
    ck_message("plugin.so): it reads the option \"gain\", which its descriptor does not list");
    ck_assert_int_eq(instance_status(i), GLOW_EINVAL);
    ck_assert_str_eq(host->opt_string(self, "count"), "");
    ck_message("\"gain\""); /* the first one stays */
    host->fail(self, "no such file");
    ck_message("plugin.so): no such file");
    instance_free(i);
}
END_TEST

START_TEST(children)
{
    struct instance *i = made("net = { type = \"abi-net\"; width = 32; }; prior = \"abi-prior\";");
    ck_assert_int_eq(i->n_children, 2);
    struct instance *net = instance_child(i, "net"), *prior = instance_child(i, "prior");
    ck_assert_str_eq(net->path, "level.0.abi.net");
    ck_assert_int_eq(net->self.host->opt_int(&net->self, "width"), 32);
    ck_assert_int_eq(prior->info->desc->kind, GLOW_PRIOR);
    ck_assert_ptr_null(instance_child(i, "other"));
    ck_assert_int_eq(instance_status(i), GLOW_OK);
    prior->self.host->fail(&prior->self, "child");
    ck_assert_int_eq(instance_status(i), GLOW_EINVAL);
    ck_assert(net->seed == hash_mix(7 ^ hash_string("level.0.abi.net")) && net->seed != i->seed);
    instance_free(i);
    i = made(""); /* the default net, no prior */
    ck_assert_int_eq(i->n_children, 1);
    ck_assert_int_eq(options_int(instance_child(i, "net")->options, "width", NULL), 16);
    instance_free(i);
    i = made("net = \"\";");
    ck_assert_int_eq(i->n_children, 0);
    instance_free(i);
}
END_TEST

START_TEST(refusals)
{
    static const struct {
        const char *members, *message;
    } cases[] = {
        { "net = { type = \"abi-net\";\n\n wide = 3; };",
          "i.cfg:4: flow[0].net.wide: abi-net has no such key; did you mean \"width\"?" },
        { "net = { type = \"abi-net\"; width = 0; };", "flow[0].net.width: 0 is outside [1,512]" },
        { "net = \"abi-row-net\";",
          "flow[0].net: net \"abi-row-net\" does not serve here, it is not: image" },
        { "\nnet = { type = \"abi-row-net\"; };", "i.cfg:3: flow[0].net: net \"abi-row-net\"" },
        { "net = \"nothing\";",
          "i.cfg:2: flow[0].net: no net \"nothing\"; there are abi-net, abi-row-net" },
        { "net = { type = \"nothing\"; };", "i.cfg:2: flow[0].net: no net \"nothing\"" },
        { "prior = \"abi-net\";", "no prior \"abi-net\" (there is a net of that name)" },
        { "count = 9;", "i.cfg:2: flow[0].count: 9 is outside [1,8] (abi-layer: an integer)" },
    };
    struct instance *i;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        ck_assert_msg(make(&i, cases[k].members) == GLOW_EINVAL, "%s", cases[k].members);
        ck_message(cases[k].message);
        ck_assert_ptr_null(i);
    }
    ck_assert_int_eq(instance_new(&i, registry, GLOW_LAYER, "none", NULL, NULL, "level.1", 0),
                     GLOW_EINVAL);
    ck_message("level.1: no layer \"none\"; there are abi-layer");
    instance_free(NULL);
}
END_TEST

/* Numbers depend on seed, stream and index only, and look like what they should be. */
START_TEST(random_numbers)
{
    enum { N = 40000 };
    struct instance *i = made("");
    const struct glow_host *host = i->self.host;
    double *a = calloc(N, sizeof *a), b[7];
    for (uint32_t dist = GLOW_UNIFORM; dist <= GLOW_GAUSS; dist++) {
        double sum = 0, squares = 0;
        host->random(0x123456789abcdef0, 5, dist, a, N);
        for (int k = 0; k < N; k++) {
            sum += a[k];
            squares += a[k] * a[k];
            ck_assert(dist == GLOW_GAUSS || (a[k] >= 0 && a[k] < 1));
        }
        double mean = sum / N, variance = squares / N - mean * mean;
        ck_assert_double_eq_tol(mean, dist == GLOW_GAUSS ? 0.0 : 0.5, 0.02);
        ck_assert_double_eq_tol(variance, dist == GLOW_GAUSS ? 1.0 : 1.0 / 12, 0.03);
        host->random(0x123456789abcdef0, 5, dist, b, 7);
        ck_assert_mem_eq(a, b, sizeof b);
        host->random(0x123456789abcdef0, 6, dist, b, 7);
        ck_assert(a[0] != b[0] && a[6] != b[6]);
        host->random(0x123456789abcdef0, 0x100000005, dist, b, 7);
        ck_assert(a[0] != b[0]);
        host->random(0x123456789abcdef1, 5, dist, b, 7);
        ck_assert(a[0] != b[0]);
        host->random(0x023456789abcdef0, 5, dist, b, 7);
        ck_assert(a[0] != b[0]);
    }
    free(a);
    instance_free(i);
}
END_TEST

/* Philox4x32-10 against the test vectors of its authors (Random123, kat_vectors). */
START_TEST(philox_vectors)
{
    static const uint32_t cases[3][10] = {
        { 0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
        { ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd },
        { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
          0x94fdcceb, 0x5001e420, 0x24126ea1 },
    };
    for (int k = 0; k < 3; k++) {
        struct philox x = philox(cases[k], cases[k] + 4);
        ck_assert_mem_eq(x.v, cases[k] + 6, 16);
    }
}
END_TEST

START_TEST(cache_directory)
{
    struct instance *i = made("");
    struct stat info;
    char expected[200];
    snprintf(expected, sizeof expected, "%s/a/b", scratch_dir);
    setenv("GLOW_CACHE_DIR", expected, 1);
    ck_assert_str_eq(i->self.host->cache_dir(&i->self), expected);
    ck_assert_int_eq(stat(expected, &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777, 0700);
    setenv("GLOW_CACHE_DIR", "", 1);
    snprintf(expected, sizeof expected, "%s/x", scratch_dir);
    setenv("XDG_CACHE_HOME", expected, 1);
    strcat(expected, "/glow");
    ck_assert_str_eq(i->self.host->cache_dir(&i->self), expected);
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", scratch_dir, 1);
    snprintf(expected, sizeof expected, "%s/.cache/glow", scratch_dir);
    ck_assert_str_eq(i->self.host->cache_dir(&i->self), expected);
    unsetenv("HOME");
    ck_assert_str_eq(i->self.host->cache_dir(&i->self), "");
    setenv("GLOW_CACHE_DIR", "/dev/null/x", 1);
    ck_assert_str_eq(i->self.host->cache_dir(&i->self), "");
    unsetenv("GLOW_CACHE_DIR");
    instance_free(i);
}
END_TEST

START_TEST(cancelling)
{
    struct instance *i = made("");
    ck_assert_int_eq(i->self.host->progress(&i->self, 1, 10), 0);
    cancel_requested = 1;
    ck_assert_int_ne(i->self.host->progress(&i->self, 2, 10), 0);
    cancel_requested = 0;
    instance_free(i);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("instance");
    TCase *tests = tcase_create("instance");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, host_options);
    tcase_add_test(tests, children);
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, random_numbers);
    tcase_add_test(tests, philox_vectors);
    tcase_add_test(tests, cache_directory);
    tcase_add_test(tests, cancelling);
    suite_add_tcase(suite, tests);
    return scratch_run(suite);
}
