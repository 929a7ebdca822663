/* celeba.c - aligned CelebA faces from a folder of JPEGs or straight from img_align_celeba.zip.
 *
 * list_eval_partition.txt has a line "000001.jpg 0" for each image: 0 train, 1 valid, 2 test.
 * Images are 178x218 (W x H); rows 40:188 and columns 15:163 are the face, 148x148, which is
 * resized to the model's size. Source: Liu et al., "Deep learning face attributes in the wild",
 * ICCV 2015. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zip.h>
#include "cache.h"
#include "image.h"

enum { HEIGHT = 218, WIDTH = 178, FACE = 148 };
static const struct image_box face = { 15, 40, FACE, FACE };
static const char partition_name[] = "list_eval_partition.txt";
enum { MAX_FILE = 16 << 20 }; /* bytes of one JPEG; real ones have about 10,000 */

static const struct glow_option options[] = {
    { .key = "path",
      .type = GLOW_OPT_PATH,
      .since = 1,
      .dflt = NULL,
      .help = "img_align_celeba.zip, or a folder with the JPEGs or with img_align_celeba/" },
    { .key = "partition",
      .type = GLOW_OPT_PATH,
      .since = 1,
      .dflt = "",
      .help = "list_eval_partition.txt; none: in or beside path, or in Eval/" },
    { .key = "filter",
      .type = GLOW_OPT_ENUM,
      .since = 1,
      .dflt = "antialias",
      .range = IMAGE_FILTER_RANGE,
      .help =
          "how the faces are resized; bilinear: two taps and no averaging, as TensorFlow 1 does" },
    { .key = "cache",
      .type = GLOW_OPT_BOOL,
      .since = 1,
      .dflt = "true",
      .help = "decode once into a file that later runs map; false: decode at each read" },
};

struct celeba {
    char *path; /* of the zip, or of the folder that holds the JPEGs */
    bool zipped;
    struct dataset_names names; /* files of the split, in the list's order */
    uint64_t *entry;            /* zip: their numbers in the archive */
    struct image_shape shape;
    enum image_filter filter;
    struct cache *cache;
    struct glow_column column;
};
struct worker {
    struct image_decoder *decoder;
    struct dataset_buffer file;
    zip_t *zip;
};

/* ---------------------------------------------------------------- the list */

/* "directory/name" exists? Gives its path. */
static char *existing(const char *directory, const char *name)
{
    char *path = dataset_path(directory, name);
    if (path && dataset_is_file(path)) return path;
    free(path);
    return NULL;
}

/* The list's path: as given, or in path, beside it, in Eval/ of either. */
static int32_t find_partition(const struct glow_self *self, const char *path, char **out)
{
    static const char *const places[] = { "/%s", "/Eval/%s", "/../%s", "/../Eval/%s" };
    const char *given = self->host->opt_string(self, "partition");
    *out = NULL;
    if (given[0]) {
        *out = dataset_path(given, "");
        return *out ? GLOW_OK : dataset_fail_memory(self, strlen(given));
    }
    char *base = dataset_path(path, "");
    if (!base) return dataset_fail_memory(self, strlen(path));
    if (!dataset_is_directory(base)) { /* a zip: its directory */
        char *slash = strrchr(base, '/');
        if (slash)
            *slash = 0;
        else
            strcpy(base, ".");
    }
    for (size_t i = 0; i < GLOW_COUNT(places) && !*out; i++) {
        char name[64];
        snprintf(name, sizeof name, places[i], partition_name);
        *out = existing(base, name + 1);
    }
    free(base);
    if (*out) return GLOW_OK;
    return dataset_fail(self, GLOW_EIO,
                        "%s: no %s in it, beside it or in Eval/: set the option partition", path,
                        partition_name);
}

/* Adds the names of the split to the list. */
static int32_t read_partition(const struct glow_self *self, struct celeba *d, const char *path,
                              enum dataset_split split)
{
    struct dataset_buffer text = { 0 };
    int32_t status = GLOW_OK;
    int error = dataset_slurp(path, &text);
    if (error) {
        status = dataset_fail(self, GLOW_EIO, "%s: %s", path, strerror(error));
        goto out;
    }
    const char *at = (const char *)text.data, *end = at + text.size;
    for (int64_t line = 1; at < end; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((newline ? newline : end) - at);
        char copy[128], name[64];
        int number, used = 0;
        snprintf(copy, sizeof copy, "%.*s", n < sizeof copy ? (int)n : (int)sizeof copy - 1, at);
        at = newline ? newline + 1 : end;
        if (!copy[strspn(copy, " \t\r")]) continue;
        if (sscanf(copy, "%63s %d %n", name, &number, &used) != 2 || copy[used] || number < 0 ||
            number > 2 || strchr(name, '/')) {
            status = dataset_fail(self, GLOW_EINVAL,
                                  "%s, line %" PRId64 ": \"%.60s\": expected a file "
                                  "name and 0, 1 or 2",
                                  path, line, copy);
            goto out;
        }
        if (number == (int)split && !dataset_names_add(&d->names, name))
            TRY_OUT(dataset_fail_memory(self, sizeof name));
    }
    if (!d->names.count)
        status =
            dataset_fail(self, GLOW_EINVAL, "%s: no image of split %d in it", path, (int)split);
out:
    free(text.data);
    return status;
}

/* ---------------------------------------------------------------- the images: folder or zip */

static int32_t fail_missing(const struct glow_self *self, const struct celeba *d, int64_t missing,
                            const char *first)
{
    return dataset_fail(self, GLOW_EINVAL,
                        "%s: %" PRId64 " of the %" PRId64 " images that the list names "
                        "are missing, first %s",
                        d->path, missing, d->names.count, first);
}

/* Hashes names, sizes and times. The folder is path itself or img_align_celeba in it. */
static int32_t find_in_folder(const struct glow_self *self, struct celeba *d, const char *path,
                              uint64_t *hash)
{
    char *inner = dataset_path(path, "img_align_celeba");
    if (!inner) return dataset_fail_memory(self, strlen(path));
    bool nested = dataset_is_directory(inner);
    d->path = nested ? inner : dataset_path(path, "");
    if (!nested) free(inner);
    if (!d->path) return dataset_fail_memory(self, strlen(path));

    int64_t missing = 0, first = 0;
    for (int64_t i = 0; i < d->names.count; i++) {
        struct stat st;
        char *file = dataset_path(d->path, d->names.name[i]);
        if (!file) return dataset_fail_memory(self, strlen(d->path));
        bool found = stat(file, &st) == 0;
        free(file);
        if (!found) {
            if (!missing++) first = i;
            continue;
        }
        *hash = dataset_hash_text(*hash, d->names.name[i]);
        *hash = dataset_hash_int(*hash, st.st_size);
        *hash = dataset_hash_int(*hash, st.st_mtim.tv_sec);
        *hash = dataset_hash_int(*hash, st.st_mtim.tv_nsec);
    }
    return missing ? fail_missing(self, d, missing, d->names.name[first]) : GLOW_OK;
}

static int32_t open_zip(const struct glow_self *self, const struct celeba *d, zip_t **zip)
{
    int code = 0;
    *zip = zip_open(d->path, ZIP_RDONLY, &code);
    if (*zip) return GLOW_OK;
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    dataset_fail(self, code == ZIP_ER_MEMORY ? GLOW_ENOMEM : GLOW_EIO,
                 "%s: %s: expected img_align_celeba.zip or a folder", d->path,
                 zip_error_strerror(&error));
    zip_error_fini(&error);
    return code == ZIP_ER_MEMORY ? GLOW_ENOMEM : GLOW_EIO;
}

/* Finds the entries, in whatever folder of the archive they are; hashes names, sizes and CRCs. */
static int32_t find_in_zip(const struct glow_self *self, struct celeba *d, const char *path,
                           uint64_t *hash)
{
    zip_t *zip;
    char name[512] = "";
    int64_t missing = 0, first = 0;
    int32_t status = GLOW_OK;
    d->path = dataset_path(path, "");
    if (!d->path) return dataset_fail_memory(self, strlen(path));
    d->zipped = true;
    TRY(open_zip(self, d, &zip));
    d->entry = malloc((size_t)d->names.count * sizeof *d->entry);
    if (!d->entry) TRY_OUT(dataset_fail_memory(self, (size_t)d->names.count * sizeof *d->entry));

    /* The folder is that of the first image; with it, a look-up is one hash. */
    zip_int64_t at = zip_name_locate(zip, d->names.name[0], ZIP_FL_NODIR);
    const char *whole = at < 0 ? NULL : zip_get_name(zip, (zip_uint64_t)at, 0);
    size_t folder = whole ? strlen(whole) - strlen(d->names.name[0]) : 0;
    if (whole && folder < sizeof name - 64) memcpy(name, whole, folder);
    for (int64_t i = 0; i < d->names.count; i++) {
        zip_stat_t st;
        snprintf(name + folder, sizeof name - folder, "%s", d->names.name[i]);
        at = zip_name_locate(zip, name, 0);
        if (at < 0 || zip_stat_index(zip, (zip_uint64_t)at, 0, &st) != 0) {
            if (!missing++) first = i;
            continue;
        }
        d->entry[i] = (uint64_t)at;
        *hash = dataset_hash_text(*hash, d->names.name[i]);
        *hash = dataset_hash_int(*hash, (int64_t)st.size);
        *hash = dataset_hash_int(*hash, st.crc);
    }
    if (missing) status = fail_missing(self, d, missing, d->names.name[first]);
out:
    zip_discard(zip);
    return status;
}

/* ---------------------------------------------------------------- decoding */

static void worker_close(void *state, void *worker)
{
    struct worker *w = worker;
    (void)state;
    if (!w) return;
    image_decoder_close(w->decoder);
    free(w->file.data);
    if (w->zip) zip_discard(w->zip);
    free(w);
}

static int32_t worker_open(const struct glow_self *self, void *state, void **worker)
{
    const struct celeba *d = state;
    int32_t status = GLOW_OK;
    struct worker *w = calloc(1, sizeof *w);
    if (!w) return dataset_fail_memory(self, sizeof *w);
    w->decoder = image_decoder_open();
    if (!w->decoder) TRY_OUT(dataset_fail_memory(self, sizeof *w));
    if (d->zipped) TRY_OUT(open_zip(self, d, &w->zip));
    *worker = w;
    return GLOW_OK;
out:
    worker_close(state, w);
    return status;
}

/* The bytes of an entry. The CRC is compared by the read that meets the end. */
static int32_t read_entry(const struct glow_self *self, const struct celeba *d, struct worker *w,
                          int64_t row)
{
    zip_stat_t st;
    const char *name = d->names.name[row];
    if (zip_stat_index(w->zip, d->entry[row], 0, &st) != 0 || st.size > MAX_FILE)
        return dataset_fail(self, GLOW_EINVAL, "%s: %s: no plausible size in the archive", d->path,
                            name);
    if (!dataset_reserve(&w->file, (size_t)st.size + 1))
        return dataset_fail_memory(self, (size_t)st.size);
    zip_file_t *f = zip_fopen_index(w->zip, d->entry[row], 0);
    if (!f)
        return dataset_fail(self, GLOW_EINVAL, "%s: %s: %s", d->path, name, zip_strerror(w->zip));
    zip_int64_t got = zip_fread(f, w->file.data, st.size + 1);
    int32_t status = GLOW_OK;
    if (got < 0)
        status = dataset_fail(self, GLOW_EINVAL, "%s: %s: %s", d->path, name,
                              zip_error_strerror(zip_file_get_error(f)));
    else if ((zip_uint64_t)got != st.size)
        status = dataset_fail(self, GLOW_EINVAL, "%s: %s: %lld bytes, expected %llu", d->path, name,
                              (long long)got, (unsigned long long)st.size);
    w->file.size = (size_t)st.size;
    zip_fclose(f);
    return status;
}

static int32_t read_jpeg(const struct glow_self *self, const struct celeba *d, struct worker *w,
                         int64_t row)
{
    if (d->zipped) return read_entry(self, d, w, row);
    char *file = dataset_path(d->path, d->names.name[row]);
    if (!file) return dataset_fail_memory(self, strlen(d->path));
    int error = dataset_slurp(file, &w->file);
    int32_t status = GLOW_OK;
    if (error) status = dataset_fail(self, GLOW_EIO, "%s: %s", file, strerror(error));
    free(file);
    return status;
}

static int32_t decode(const struct glow_self *self, void *state, void *worker, int64_t row,
                      uint8_t *dst)
{
    const struct celeba *d = state;
    struct worker *w = worker;
    struct image_shape size;
    char why[IMAGE_WHY];
    TRY(read_jpeg(self, d, w, row));
    int32_t status = image_probe(w->decoder, w->file.data, w->file.size, &size, why);
    if (status == GLOW_OK && (size.height != HEIGHT || size.width != WIDTH)) {
        snprintf(why, sizeof why, "it is %" PRId64 "x%" PRId64 ", aligned faces are %dx%d (W x H)",
                 size.width, size.height, WIDTH, HEIGHT);
        status = GLOW_EINVAL;
    }
    if (status == GLOW_OK)
        status = image_decode(w->decoder, w->file.data, w->file.size, &d->shape, &face, d->filter,
                              dst, why);
    if (status == GLOW_OK) return GLOW_OK;
    return dataset_fail(self, status, "%s: %s: %s", d->path, d->names.name[row], why);
}

/* ---------------------------------------------------------------- the dataset */

static void close_split(void *state)
{
    struct celeba *d = state;
    cache_close(d->cache);
    dataset_names_free(&d->names);
    free(d->entry);
    free(d->path);
    free(d);
}

static int32_t open_cache(const struct glow_self *self, struct celeba *d, const char *split,
                          uint64_t hash)
{
    char name[32];
    snprintf(name, sizeof name, "celeba-%s", split);
    hash = dataset_hash_int(dataset_hash(hash, &d->shape, sizeof d->shape), d->filter);
    struct cache_source source = { .name = name,
                                   .key = dataset_mix(hash),
                                   .count = d->names.count,
                                   .row_bytes = image_bytes(&d->shape),
                                   .context = d,
                                   .worker_open = worker_open,
                                   .worker_close = worker_close,
                                   .decode = decode };
    return cache_open(&d->cache, self, &source, self->host->opt_int(self, "cache") != 0);
}

static int32_t open_split(const struct glow_self *self, const struct glow_data_open *open,
                          void **state, struct glow_data_info *info)
{
    static const struct image_shape native = { 3, FACE, FACE };
    enum dataset_split split;
    struct glow_type row;
    char *partition = NULL;
    uint64_t hash = DATASET_HASH;
    int32_t status;
    struct celeba *d = calloc(1, sizeof *d);
    if (!d) return dataset_fail_memory(self, sizeof *d);
    const char *path = self->host->opt_string(self, "path");
    d->filter = image_filter_named(self->host->opt_string(self, "filter"));
    TRY_OUT(dataset_split(self, open->split, &split));
    TRY_OUT(dataset_image_shape(self, &open->want, &native, &d->shape, &row));
    bool folder = dataset_is_directory(path);
    if (!folder && !dataset_is_file(path))
        TRY_OUT(dataset_fail(self, GLOW_EIO,
                             "%s: no such file or folder: expected "
                             "img_align_celeba.zip or a folder with the JPEGs",
                             path));
    TRY_OUT(find_partition(self, path, &partition));
    TRY_OUT(read_partition(self, d, partition, split));
    TRY_OUT(folder ? find_in_folder(self, d, path, &hash) : find_in_zip(self, d, path, &hash));
    TRY_OUT(open_cache(self, d, open->split, hash));

    d->column = dataset_image_column(&row);
    info->column_size = sizeof d->column;
    info->n_columns = 1;
    info->columns = &d->column;
    info->flags = 0;
    info->count = d->names.count;
    info->fingerprint = cache_fingerprint(d->cache);
    *state = d;
out:
    free(partition);
    if (status != GLOW_OK) close_split(d);
    return status;
}

static int32_t read_rows(const struct glow_self *self, void *state,
                         const struct glow_data_read *request)
{
    struct celeba *d = state;
    TRY(dataset_check_rows(self, request, d->names.count));
    uint8_t *dst = request->dst[0];
    for (uint32_t i = 0; dst && i < request->n; i++, dst += image_bytes(&d->shape))
        TRY(cache_read(d->cache, self, request->worker, request->index[i], dst));
    return GLOW_OK;
}

static const struct glow_dataset dataset = {
    GLOW_HEAD(struct glow_dataset, GLOW_DATASET, 1, "celeba",
              "aligned CelebA faces, from a folder or from the zip", options, GLOW_COUNT(options)),
    .open = open_split,
    .close = close_split,
    .read = read_rows,
    .worker_open = worker_open,
    .worker_close = worker_close,
};

static const struct glow_desc *const descs[] = { &dataset.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "celeba", "1", "", descs
};
