/* test_registry.c - finding, checking and loading plug-ins: the search path, what wins, and how
 * each file of tests/bad is refused. */
#include <check.h>
#undef fail /* a macro of check.h; status.h has a function */
#include <sys/stat.h>
#include "compile.h"
#include "registry.h"
#include "scratch.h"

/* The path of a plug-in in a subdirectory of the scratch directory, which is made too; valid until
 * the 64th next call. */
static const char *place(const char *dir, const char *file)
{
    static char paths[64][300];
    static int next;
    char *path = paths[next++ % 64];
    mkdir(scratch_path(dir), 0755);
    snprintf(path, sizeof paths[0], "%s/%s/%s", scratch_dir, dir, file);
    return path;
}

static void build(const char *name, const char *target)
{
    char source[100];
    snprintf(source, sizeof source, "bad/%s.c", name);
    compile_plugin(source, target, "");
}

static struct registry *open_registry(const char *path, const struct config *cfg)
{
    struct registry *r;
    if (path)
        setenv("GLOW_PLUGIN_PATH", path, 1);
    else
        unsetenv("GLOW_PLUGIN_PATH");
    ck_assert_msg(registry_open(&r, cfg) == GLOW_OK, "%s", fail_message());
    return r;
}

static void ck_message(const char *part)
{
    ck_assert_msg(strstr(fail_message(), part) != NULL, "\"%s\" lacks \"%s\"", fail_message(),
                  part);
}

static const struct {
    const char *file, *message;
} refused[] = {
    { "no_symbol", "no symbol glow_plugin_v1: not a glow plug-in" },
    { "abi2", "it is for ABI 2, this glow has ABI 1" },
    { "function", "glow_plugin_v1 is not a constant" },
    { "undefined", "undefined symbol: no_such_function" },
    { "newer_minor", "minor: it needs ABI 1.7, this glow has 1.1" },
    { "short_plugin", "glow_plugin_v1: size: 16 bytes; version 1.0 has 40" },
    { "long_plugin", "glow_plugin_v1: size: it claims 4136 bytes, but has 40" },
    { "no_descs", "glow_plugin_v1: descs: NULL" },
    { "short_head", "size: 16; its head alone has 48" },
    { "short_struct",
      "layer \"short_struct\": size: 88; version 1.0 has 112, this glow (1.1) 112" },
    { "short_option", "layer \"short_option\": option_size: 40; version 1.0 has 88" },
    { "null_id", "a layer: id: NULL" },
    { "bad_id", "layer \"../bad id\": id: a letter, then" },
    { "duplicate_id", "layer \"duplicate_id\": id: stands twice in this file" },
    { "no_forward", "layer \"no_forward\": forward: NULL, but a callback is required" },
    { "no_traits", "layer \"no_traits\": traits.size: 0; version 1.0 has 24" },
    { "claims_inverse", "layer \"claims_inverse\": traits: an inverse is claimed" },
    { "half_prior", "prior \"half_prior\": standardise, restore: both or none" },
    { "no_read", "dataset \"no_read\": read: NULL" },
    { "no_decompose", "custom \"no_decompose\": decompose: NULL" },
    { "image_for_cpu", "custom \"image_for_cpu\": kernels: an image is for \"cuda\"" },
    { "image_with_run", "kernels: an image goes without run and scratch" },
    { "image_without_entry", "kernels: an image needs the name of an entry" },
    { "image_without_end", "kernels: image_end must stand behind image" },
    { "bad_default", "bad_default: option \"bits\": dflt: 9 is outside [1,8]" },
};

START_TEST(bad_plugins)
{
    struct registry *r = open_registry(NULL, NULL);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char file[100];
        snprintf(file, sizeof file, "%s.so", refused[i].file);
        const char *path = place("bad", file);
        build(refused[i].file, path);
        ck_assert_msg(registry_load_file(r, path) == GLOW_EINVAL, "%s was accepted", file);
        ck_message(path);
        ck_message(refused[i].message);
        ck_assert_int_eq(registry_load_file(r, path), GLOW_EINVAL); /* and again, from memory */
        ck_message(refused[i].message);
        ck_assert_int_eq(registry_count(r), 0);
    }
    registry_free(r);

    int count;
    r = open_registry(scratch_path("bad"), NULL);
    ck_assert_int_eq(registry_load_all(r, &count), GLOW_OK);
    ck_assert_int_eq(count, (int)(sizeof refused / sizeof *refused));
    const struct plugin_info *info;
    ck_assert_int_eq(registry_find(r, GLOW_LAYER, "no_forward", &info), GLOW_EINVAL);
    ck_message("no layer \"no_forward\"");
    ck_message("forward: NULL, but a callback is required");
    ck_assert_ptr_null(info);
    registry_free(r);
}
END_TEST

/* Files that are no plug-ins, are for another machine, or that others can write. */
START_TEST(bad_files)
{
    struct registry *r = open_registry(NULL, NULL);
    const char *text = place("files", "text.so"), *good = place("files", "good.so");
    scratch_save("files/text.so", "not a library\n", 14);
    ck_assert_int_eq(registry_load_file(r, text), GLOW_EINVAL);
    ck_message("text.so: not a shared object (no ELF header)");
    scratch_save("files/empty.so", "", 0);
    ck_assert_int_eq(registry_load_file(r, scratch_path("files/empty.so")), GLOW_EINVAL);
    ck_message("no ELF header");
    ck_assert_int_eq(registry_load_file(r, scratch_path("files/none.so")), GLOW_EIO);
    ck_message("none.so: No such file");
    ck_assert_int_eq(registry_load_file(r, scratch_path("files")), GLOW_EINVAL);
    ck_message("not a file");

    build("good", good);
    size_t n;
    char *bytes = scratch_load("files/good.so", &n);
    bytes[18] = 0x33; /* e_machine: none of ours */
    bytes[19] = 0x12;
    scratch_save("files/alien.so", bytes, n);
    ck_assert_int_eq(registry_load_file(r, scratch_path("files/alien.so")), GLOW_EINVAL);
    ck_message("built for another machine, ");
    scratch_save("files/cut.so", bytes, 200);
    free(bytes);
    ck_assert_int_eq(registry_load_file(r, scratch_path("files/cut.so")), GLOW_EINVAL);

    ck_assert_int_eq(chmod(good, 0646), 0);
    ck_assert_int_eq(registry_load_file(r, good), GLOW_EINVAL);
    ck_message("every user can write to it (mode 646)");
    ck_assert_int_eq(chmod(good, 0644), 0);
    registry_free(r);
    r = open_registry(NULL, NULL);
    ck_assert_int_eq(chmod(scratch_path("files"), 0757), 0);
    ck_assert_int_eq(registry_load_file(r, good), GLOW_EINVAL);
    ck_message("every user can write to its directory");
    mkdir(scratch_path("links"), 0755);
    ck_assert_int_eq(symlink(good, scratch_path("links/good.so")), 0);
    ck_assert_int_eq(registry_load_file(r, scratch_path("links/good.so")), GLOW_EINVAL);
    ck_assert_int_eq(chmod(scratch_path("files"), 01757), 0); /* sticky, like /tmp */
    registry_free(r);
    r = open_registry(NULL, NULL);
    ck_assert_msg(registry_load_file(r, good) == GLOW_OK, "%s", fail_message());
    ck_assert_int_eq(registry_load_file(r, scratch_path("links/good.so")),
                     GLOW_OK); /* the same file */
    ck_assert_int_eq(registry_count(r), 1);
    registry_free(r);
}
END_TEST

START_TEST(accepted_oddities)
{
    struct registry *r = open_registry(NULL, NULL);
    const struct plugin_info *info;
    const char *unknown = place("odd", "unknown_kind.so"),
               *larger = place("odd", "larger_structs.so");
    build("unknown_kind", unknown);
    build("larger_structs", larger);
    ck_assert_msg(registry_load_file(r, unknown) == GLOW_OK, "%s", fail_message());
    ck_assert_int_eq(registry_count(r), 1);
    ck_assert_msg(registry_load_file(r, larger) == GLOW_OK, "%s", fail_message());
    ck_assert_int_eq(registry_find(r, GLOW_LAYER, "larger_structs", &info), GLOW_OK);
    ck_assert_uint_eq(info->desc->size, sizeof(struct glow_layer));
    ck_assert_uint_eq(info->desc->option_size, sizeof(struct glow_option));
    ck_assert_str_eq(info->desc->options[1].key, "second");
    ck_assert_str_eq(info->plugin, "bad");
    ck_assert_str_eq(info->file, larger);
    ck_assert_ptr_null(registry_at(r, 2));
    registry_free(r);
}
END_TEST

/* Records of kernels that are longer than ours. */
START_TEST(larger_kernels)
{
    const struct plugin_info *info;
    struct registry *r = open_registry(NULL, NULL);
    const char *path = place("larger", "larger_kernels.so");
    build("larger_kernels", path);
    ck_assert_msg(registry_load_file(r, path) == GLOW_OK, "%s", fail_message());
    ck_assert_int_eq(registry_find(r, GLOW_CUSTOM, "larger_kernels", &info), GLOW_OK);
    const struct glow_custom *custom = (const struct glow_custom *)info->desc;
    ck_assert_uint_eq(custom->n_kernels, 2);
    ck_assert_uint_eq(custom->kernel_size, sizeof *custom->kernels);
    ck_assert_uint_eq(custom->kernels[1].dtype, GLOW_F64);
    ck_assert(custom->kernels[1].run && !custom->kernels[1].image);
    registry_free(r);
}
END_TEST

/* One plug-in with every kind, in the header's first version. */
START_TEST(frozen_header)
{
    struct registry *r = open_registry(NULL, NULL);
    const char *path = place("frozen", "plugin.so");
    compile_plugin("abi/plugin.c", path, "-DHEADER='\"plugin-1.0.h\"'");
    ck_assert_msg(registry_load_file(r, path) == GLOW_OK, "%s", fail_message());
    static const struct {
        uint32_t kind;
        const char *id, *name;
    } there[] = {
        { GLOW_LAYER, "abi-layer", "layer" },       { GLOW_NET, "abi-net", "net" },
        { GLOW_NET, "abi-row-net", "net" },         { GLOW_PRIOR, "abi-prior", "prior" },
        { GLOW_DATASET, "abi-dataset", "dataset" }, { GLOW_CUSTOM, "abi-custom", "custom" },
    };
    ck_assert_int_eq(registry_count(r), GLOW_COUNT(there));
    for (uint32_t i = 0; i < GLOW_COUNT(there); i++) {
        const struct plugin_info *info;
        ck_assert_int_eq(registry_find(r, there[i].kind, there[i].id, &info), GLOW_OK);
        ck_assert_str_eq(kind_name(info->desc->kind), there[i].name);
    }
    const struct plugin_info *info;
    ck_assert_int_eq(registry_find(r, GLOW_CUSTOM, "abi-custom", &info), GLOW_OK);
    const struct glow_custom *custom = (const struct glow_custom *)info->desc;
    ck_assert_uint_eq(custom->kernel_size, sizeof *custom->kernels);
    ck_assert(custom->kernels[0].run && !custom->kernels[0].image && !custom->kernels[0].launch);
    registry_free(r);
}
END_TEST

/* GLOW_PLUGIN_PATH before plugin_path, the first of an id before others, files by name before all.
 */
START_TEST(search_path)
{
    const struct plugin_info *info;
    struct config *cfg;
    char text[600];
    build("good", place("one", "good.so"));
    build("good", place("two", "good.so"));
    mkdir(scratch_path("three"), 0755);
    build("unknown_kind", place("three/layers", "unknown_kind.so"));
    build("larger_structs", place("two", "other_name.so"));
    snprintf(text, sizeof text, "plugin_path = (\"%s\", \"%s\");", scratch_path("two"),
             scratch_path("three"));
    ck_assert_int_eq(config_parse(&cfg, text, "p.cfg"), GLOW_OK);

    struct registry *r = open_registry(scratch_path("one"), cfg);
    ck_assert_int_eq(registry_count(r), 0); /* nothing is loaded yet */
    ck_assert_int_eq(registry_find(r, GLOW_LAYER, "good", &info), GLOW_OK);
    ck_assert_str_eq(info->file, scratch_path("one/good.so"));
    ck_assert_int_eq(registry_count(r), 1);
    ck_assert_int_eq(registry_find(r, GLOW_LAYER, "unknown_kind", &info),
                     GLOW_OK); /* three/layers */
    ck_assert_int_eq(registry_count(r), 2);
    ck_assert_int_eq(registry_find(r, GLOW_LAYER, "larger_structs", &info),
                     GLOW_OK); /* another name */
    ck_assert_int_eq(registry_load_all(r, NULL), GLOW_OK);
    for (int i = 0; i < registry_count(r); i++) /* two/good.so does not count */
        ck_assert_str_ne(registry_at(r, i)->file, scratch_path("two/good.so"));
    ck_assert_int_eq(registry_find(r, GLOW_LAYER, "good", &info), GLOW_OK);
    ck_assert_str_eq(info->file, scratch_path("one/good.so"));
    ck_assert_int_eq(registry_find(r, GLOW_NET, "good", &info), GLOW_EINVAL);
    ck_message("no net \"good\" (there is a layer of that name)");
    ck_message(scratch_path("three/layers"));
    ck_assert_int_eq(registry_find(r, GLOW_LAYER, "../one/good", &info), GLOW_EINVAL);
    ck_message("no layer \"../one/good\"; there are ");
    registry_free(r);

    r = open_registry(NULL, cfg);
    ck_assert_int_eq(registry_find(r, GLOW_LAYER, "good", &info), GLOW_OK);
    ck_assert_str_eq(info->file, scratch_path("two/good.so"));
    registry_free(r);
    config_free(cfg);

    ck_assert_int_eq(config_parse(&cfg, "plugin_path = 5;", "p.cfg"), GLOW_OK);
    ck_assert_int_eq(registry_open(&r, cfg), GLOW_EINVAL);
    ck_message("p.cfg:1: plugin_path: expected a directory");
    config_free(cfg);
    ck_assert_int_eq(config_parse(&cfg, "\nplugin_path = [1];", "p.cfg"), GLOW_OK);
    ck_assert_int_eq(registry_open(&r, cfg), GLOW_EINVAL);
    ck_message("p.cfg:2: plugin_path[0]: expected the name");
    config_free(cfg);
}
END_TEST

/* Relative entries start at the file; ./plugins is searched too. */
START_TEST(relative_paths)
{
    const struct plugin_info *info;
    struct config *cfg;
    char here[4096];
    build("good", place("near", "good.so"));
    scratch_save("a.cfg", "plugin_path = \"near\";", 21);
    ck_assert_int_eq(config_load(&cfg, scratch_path("a.cfg")), GLOW_OK);
    struct registry *r = open_registry("", cfg);
    ck_assert_int_eq(registry_find(r, GLOW_LAYER, "good", &info), GLOW_OK);
    ck_assert_str_eq(info->file, scratch_path("near/good.so"));
    registry_free(r);
    config_free(cfg);

    mkdir(scratch_path("plugins"), 0755);
    build("unknown_kind", place("plugins/mine", "unknown_kind.so"));
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    ck_assert_int_eq(chdir(scratch_dir), 0);
    r = open_registry(NULL, NULL);
    ck_assert_int_eq(registry_find(r, GLOW_LAYER, "unknown_kind", &info), GLOW_OK);
    ck_assert_str_eq(info->file, "plugins/mine/unknown_kind.so");
    registry_free(r);
    ck_assert_int_eq(chdir(here), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("registry");
    TCase *tests = tcase_create("registry");
    note_level = 2;
    tcase_set_timeout(tests, 60); /* the compiler runs */
    tcase_add_test(tests, bad_plugins);
    tcase_add_test(tests, bad_files);
    tcase_add_test(tests, accepted_oddities);
    tcase_add_test(tests, larger_kernels);
    tcase_add_test(tests, frozen_header);
    tcase_add_test(tests, search_path);
    tcase_add_test(tests, relative_paths);
    suite_add_tcase(suite, tests);
    return scratch_run(suite);
}
