/* images.c - a folder of PNG and JPEG files of any size: centre crop to the model's aspect, resize.
 *
 * Splits: subfolders train/ and test/ (valid/ or val/) where they exist; otherwise a file belongs
 * to a split by a hash of its path in the folder, so that a file that is added moves no other file.
 * All files are tried when the split is opened (and their rows cached); those that can't be read
 * are named and left out. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include "cache.h"
#include "image.h"

enum { MAX_DEPTH = 16, NAMED = 10 }; /* folders in folders; unreadable files that the log names */

static const struct glow_option options[] = {
    { .key = "path",
      .type = GLOW_OPT_PATH,
      .since = 1,
      .dflt = NULL,
      .help = "a folder; files in its subfolders count, names that begin with a dot do not" },
    { .key = "test_fraction",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "0.1",
      .range = "[0,1)",
      .help = "part of the files that are the test split, when there are no subfolders for it" },
    { .key = "valid_fraction",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "0.0",
      .range = "[0,1)",
      .help = "the same for the valid split; 0: valid reads the test files" },
    { .key = "flip",
      .type = GLOW_OPT_BOOL,
      .since = 1,
      .dflt = "false",
      .help = "in training, mirror left and right at random" },
    { .key = "filter",
      .type = GLOW_OPT_ENUM,
      .since = 1,
      .dflt = "antialias",
      .range = IMAGE_FILTER_RANGE,
      .help = "how resizing is done; bilinear: two taps and no averaging, as TensorFlow 1 does" },
    { .key = "cache",
      .type = GLOW_OPT_BOOL,
      .since = 1,
      .dflt = "true",
      .help = "decode once into a file that later runs map; false: decode at each read" },
};

struct images {
    char *root;
    struct dataset_names names; /* files of the split, in root, sorted */
    struct image_shape shape;
    enum image_filter filter;
    bool flip;
    struct cache *cache;
    bool opened;      /* from now on an unreadable file is an error */
    atomic_int named; /* unreadable files in the log so far */
    int64_t *row;     /* the readable ones among names */
    int64_t count;
    struct glow_column column;
};
struct worker {
    struct image_decoder *decoder;
    struct dataset_buffer file;
};

/* ---------------------------------------------------------------- finding files */

static bool has_image_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot &&
           (!strcasecmp(dot, ".png") || !strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
}

/* Adds the image files under root/inner to the list; counts the others. inner is "" for root. */
static int32_t scan(const struct glow_self *self, const char *root, const char *inner, int depth,
                    struct dataset_names *names, int64_t *others)
{
    int32_t status = GLOW_OK;
    char *folder = dataset_path(root, inner);
    if (!folder) return dataset_fail_memory(self, strlen(root));
    DIR *dir = opendir(folder);
    if (!dir) {
        status = dataset_fail(self, GLOW_EIO, "%s: %s: expected a folder of images", folder,
                              strerror(errno));
        free(folder);
        return status;
    }
    for (struct dirent *e; (e = readdir(dir)) && status == GLOW_OK;) {
        struct stat st;
        if (e->d_name[0] == '.') continue;
        char *name = inner[0] ? dataset_path(inner, e->d_name) : dataset_path(e->d_name, "");
        char *path = name ? dataset_path(root, name) : NULL;
        if (!path) {
            status = dataset_fail_memory(self, strlen(folder));
        } else if (stat(path, &st) != 0) {
            ++*others; /* a dangling link */
        } else if (S_ISDIR(st.st_mode) && depth < MAX_DEPTH) {
            status = scan(self, root, name, depth + 1, names, others);
        } else if (!S_ISREG(st.st_mode) || !has_image_name(name)) {
            ++*others;
        } else if (!dataset_names_add(names, name)) {
            status = dataset_fail_memory(self, strlen(name));
        }
        free(name);
        free(path);
    }
    closedir(dir);
    free(folder);
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool has_folder(const char *root, const char *name)
{
    char *path = dataset_path(root, name);
    bool yes = path && dataset_is_directory(path);
    free(path);
    return yes;
}

/* The subfolder of a split, when the folder is divided by hand; else "". */
static const char *split_folder(const char *root, enum dataset_split split)
{
    const char *valid = has_folder(root, "valid") ? "valid"
                        : has_folder(root, "val") ? "val"
                                                  : NULL;
    const char *test = has_folder(root, "test") ? "test" : NULL;
    if (!has_folder(root, "train") || (!valid && !test)) return "";
    if (split == DATASET_TRAIN) return "train";
    if (split == DATASET_VALID) return valid ? valid : test;
    return test ? test : valid;
}

static double place_of(const char *name)
{
    return (double)(dataset_mix(dataset_hash_text(DATASET_HASH, name)) >> 11) * 0x1p-53;
}

/* The first file, in the order of places, at or behind `from` and not `but`; -1 without one. */
static int64_t nearest(const struct dataset_names *names, double from, int64_t but)
{
    int64_t best = -1;
    for (int64_t i = 0; i < names->count; i++) {
        double at = place_of(names->name[i]);
        if (at >= from && i != but && (best < 0 || at < place_of(names->name[best]))) best = i;
    }
    return best;
}

/* Keeps the names of a split: places [0, test) are test, [test, test + valid) valid, the rest
 * train. Where a small folder has no file in a part, the nearest one goes there. */
static void keep_split(struct dataset_names *names, enum dataset_split split, double test,
                       double valid)
{
    int64_t some_test = test > 0 ? nearest(names, 0, -1) : -1, kept = 0;
    int64_t some_valid = valid > 0 ? nearest(names, test, some_test) : -1;
    if (split == DATASET_VALID && valid == 0) split = DATASET_TEST;
    for (int64_t i = 0; i < names->count; i++) {
        double at = place_of(names->name[i]);
        enum dataset_split of = DATASET_TRAIN;
        if (at < test || i == some_test)
            of = DATASET_TEST;
        else if (at < test + valid || i == some_valid)
            of = DATASET_VALID;
        if (of == split)
            names->name[kept++] = names->name[i];
        else
            free(names->name[i]);
    }
    names->count = kept;
}

/* All image files of a folder in root, sorted. */
static int32_t list_files(const struct glow_self *self, const char *root, const char *folder,
                          struct dataset_names *names)
{
    int64_t others = 0;
    TRY(scan(self, root, folder, 0, names, &others));
    if (!names->count)
        return dataset_fail(self, GLOW_EINVAL,
                            "%s%s%s: no images: %" PRId64 " other files, none ends in "
                            ".png, .jpg or .jpeg",
                            root, folder[0] ? "/" : "", folder, others);
    qsort(names->name, (size_t)names->count, sizeof *names->name, compare_names);
    return GLOW_OK;
}

static int32_t find_files(const struct glow_self *self, struct images *d, const char *split_name)
{
    enum dataset_split split;
    TRY(dataset_split(self, split_name, &split));
    const char *folder = split_folder(d->root, split);
    TRY(list_files(self, d->root, folder, &d->names));
    if (folder[0]) return GLOW_OK;
    int64_t found = d->names.count;
    keep_split(&d->names, split, self->host->opt_real(self, "test_fraction"),
               self->host->opt_real(self, "valid_fraction"));
    if (d->names.count) return GLOW_OK;
    return dataset_fail(self, GLOW_EINVAL,
                        "%s: %" PRId64 " images, none for the split %s: check "
                        "test_fraction and valid_fraction",
                        d->root, found, split_name);
}

/* Hashes names, sizes and times: the cache's key. */
static int32_t hash_files(const struct glow_self *self, const struct images *d, uint64_t *hash)
{
    for (int64_t i = 0; i < d->names.count; i++) {
        struct stat st = { 0 };
        char *path = dataset_path(d->root, d->names.name[i]);
        if (!path) return dataset_fail_memory(self, strlen(d->root));
        bool found = stat(path, &st) == 0;
        free(path);
        *hash = dataset_hash_text(*hash, d->names.name[i]);
        if (!found) continue; /* vanished meanwhile: will be unreadable */
        *hash = dataset_hash_int(*hash, st.st_size);
        *hash = dataset_hash_int(*hash, st.st_mtim.tv_sec);
        *hash = dataset_hash_int(*hash, st.st_mtim.tv_nsec);
    }
    return GLOW_OK;
}

/* ---------------------------------------------------------------- decoding */

static void worker_close(void *state, void *worker)
{
    struct worker *w = worker;
    (void)state;
    if (!w) return;
    image_decoder_close(w->decoder);
    free(w->file.data);
    free(w);
}

static int32_t worker_open(const struct glow_self *self, void *state, void **worker)
{
    struct worker *w = calloc(1, sizeof *w);
    if (w) w->decoder = image_decoder_open();
    if (!w || !w->decoder) {
        worker_close(state, w);
        return dataset_fail_memory(self, sizeof *w);
    }
    *worker = w;
    return GLOW_OK;
}

/* The bytes of a file into w->file; why it can't be had. */
static int32_t load(const struct images *d, struct worker *w, const char *name, char why[IMAGE_WHY])
{
    char *path = dataset_path(d->root, name);
    int error = path ? dataset_slurp(path, &w->file) : ENOMEM;
    free(path);
    if (error) snprintf(why, IMAGE_WHY, "%s", strerror(error));
    return error == ENOMEM ? GLOW_ENOMEM : error ? GLOW_EIO : GLOW_OK;
}

/* Decodes a row of the cache. */
static int32_t decode(const struct glow_self *self, void *state, void *worker, int64_t i,
                      uint8_t *dst)
{
    struct images *d = state;
    struct worker *w = worker;
    const char *name = d->names.name[i];
    char why[IMAGE_WHY];
    int32_t status = load(d, w, name, why);
    if (status == GLOW_OK)
        status = image_decode(w->decoder, w->file.data, w->file.size, &d->shape, NULL, d->filter,
                              dst, why);
    if (status == GLOW_OK) return GLOW_OK;
    if (d->opened || status == GLOW_ENOMEM)
        return dataset_fail(self, status, "%s/%s: %s", d->root, name, why);
    if (atomic_fetch_add(&d->named, 1) < NAMED)
        dataset_log(self, 1, "%s/%s: %s: left out", d->root, name, why);
    return CACHE_SKIP;
}

/* The shape for a model that takes anything: that of the first readable training file. */
static int32_t native_shape(const struct glow_self *self, struct images *d,
                            struct image_shape *shape)
{
    struct dataset_names names = { 0 };
    void *worker = NULL;
    char why[IMAGE_WHY] = "";
    int32_t status;
    const char *folder = split_folder(d->root, DATASET_TRAIN);
    TRY_OUT(list_files(self, d->root, folder, &names));
    TRY_OUT(worker_open(self, d, &worker));
    struct worker *w = worker;
    status = GLOW_EINVAL;
    for (int64_t i = 0; i < names.count && status != GLOW_OK; i++) {
        status = load(d, w, names.name[i], why);
        if (status == GLOW_OK)
            status = image_probe(w->decoder, w->file.data, w->file.size, shape, why);
    }
    if (status != GLOW_OK)
        dataset_fail(self, status, "%s: none of %" PRId64 " files can be read, %s: %s", d->root,
                     names.count, names.name[names.count - 1], why);
out:
    worker_close(d, worker);
    dataset_names_free(&names);
    return status;
}

/* ---------------------------------------------------------------- the dataset */

static void close_split(void *state)
{
    struct images *d = state;
    cache_close(d->cache);
    dataset_names_free(&d->names);
    free(d->root);
    free(d->row);
    free(d);
}

/* Lists the rows that could be decoded and tells about the others. */
static int32_t list_rows(const struct glow_self *self, struct images *d)
{
    d->row = malloc((size_t)d->names.count * sizeof *d->row);
    if (!d->row) return dataset_fail_memory(self, (size_t)d->names.count * sizeof *d->row);
    const char *first = NULL;
    for (int64_t i = 0; i < d->names.count; i++) {
        if (cache_has(d->cache, i))
            d->row[d->count++] = i;
        else if (!first)
            first = d->names.name[i];
    }
    if (d->count == 0)
        return dataset_fail(self, GLOW_EINVAL,
                            "%s: no images: none of %" PRId64 " files can be read, first %s",
                            d->root, d->names.count, first);
    if (first)
        dataset_log(self, 1,
                    "%s: %" PRId64 " of %" PRId64 " files can't be read and are left out, first %s",
                    d->root, d->names.count - d->count, d->names.count, first);
    return GLOW_OK;
}

static int32_t open_cache(const struct glow_self *self, struct images *d, const char *split)
{
    char name[32];
    uint64_t hash = dataset_hash(DATASET_HASH, &d->shape, sizeof d->shape);
    TRY(hash_files(self, d, &hash));
    snprintf(name, sizeof name, "images-%s", split);
    struct cache_source source = { .name = name,
                                   .key = dataset_mix(dataset_hash_int(hash, d->filter)),
                                   .count = d->names.count,
                                   .row_bytes = image_bytes(&d->shape),
                                   .tolerant = true,
                                   .context = d,
                                   .worker_open = worker_open,
                                   .worker_close = worker_close,
                                   .decode = decode };
    return cache_open(&d->cache, self, &source, self->host->opt_int(self, "cache") != 0);
}

static int32_t open_split(const struct glow_self *self, const struct glow_data_open *open,
                          void **state, struct glow_data_info *info)
{
    struct image_shape native = { 1, 1, 1 };
    struct glow_type row;
    int32_t status;
    struct images *d = calloc(1, sizeof *d);
    if (!d) return dataset_fail_memory(self, sizeof *d);
    const char *path = self->host->opt_string(self, "path");
    d->root = dataset_path(path, "");
    if (!d->root) TRY_OUT(dataset_fail_memory(self, strlen(path)));
    d->filter = image_filter_named(self->host->opt_string(self, "filter"));
    d->flip = self->host->opt_int(self, "flip") && !strcmp(open->split, "train");
    TRY_OUT(find_files(self, d, open->split));
    if (open->want.rank != 3) TRY_OUT(native_shape(self, d, &native));
    TRY_OUT(dataset_image_shape(self, &open->want, &native, &d->shape, &row));
    TRY_OUT(open_cache(self, d, open->split));
    TRY_OUT(list_rows(self, d));
    d->opened = true;

    d->column = dataset_image_column(&row);
    info->column_size = sizeof d->column;
    info->n_columns = 1;
    info->columns = &d->column;
    info->flags = 0;
    info->count = d->count;
    info->fingerprint = cache_fingerprint(d->cache);
    *state = d;
    return GLOW_OK;
out:
    close_split(d);
    return status;
}

static void mirror(const struct image_shape *shape, uint8_t *pixels)
{
    for (int64_t line = 0; line < shape->channels * shape->height; line++, pixels += shape->width) {
        for (int64_t a = 0, b = shape->width - 1; a < b; a++, b--) {
            uint8_t keep = pixels[a];
            pixels[a] = pixels[b];
            pixels[b] = keep;
        }
    }
}

static int32_t read_rows(const struct glow_self *self, void *state,
                         const struct glow_data_read *request)
{
    struct images *d = state;
    TRY(dataset_check_rows(self, request, d->count));
    uint8_t *dst = request->dst[0];
    for (uint32_t i = 0; dst && i < request->n; i++, dst += image_bytes(&d->shape)) {
        TRY(cache_read(d->cache, self, request->worker, d->row[request->index[i]], dst));
        if (d->flip && request->key && dataset_mix(request->key[i]) >> 63) mirror(&d->shape, dst);
    }
    return GLOW_OK;
}

static const struct glow_dataset dataset = {
    GLOW_HEAD(struct glow_dataset, GLOW_DATASET, 1, "images",
              "a folder of PNG and JPEG files of any size", options, GLOW_COUNT(options)),
    .open = open_split,
    .close = close_split,
    .read = read_rows,
    .worker_open = worker_open,
    .worker_close = worker_close,
};

static const struct glow_desc *const descs[] = { &dataset.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "images", "1", "", descs
};
