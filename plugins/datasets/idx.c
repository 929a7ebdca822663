/* idx.c - images in the idx files of MNIST and its relatives, plain or gzipped.
 *
 * An idx file is {0, 0, type, rank} and `rank` big-endian uint32 sizes, then the elements; type 8
 * is u8. Images are (N,H,W) grey, labels (N). Source: yann.lecun.com/exdb/mnist. All rows of the
 * split stay in memory as they are stored; padding, resizing and RGB are done at each read. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>
#include "dataset.h"
#include "image.h"

enum { TYPE_U8 = 8, GZIP_RATIO = 1040, MAX_SIDE = 1 << 14, DIGITS = 10 };

static const char *const digits[DIGITS] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" };
static const char *const fashion[DIGITS] = { "T-shirt/top", "Trouser",   "Pullover", "Dress",
                                             "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                             "Bag",         "Ankle boot" };

static const struct glow_option options[] = {
    { .key = "path",
      .type = GLOW_OPT_PATH,
      .since = 1,
      .dflt = "/usr/share/datasets/fashion-mnist",
      .help = "directory with train-images-idx3-ubyte(.gz), t10k-images-idx3-ubyte(.gz) and their "
              "labels, or one images file" },
    { .key = "fit",
      .type = GLOW_OPT_ENUM,
      .since = 1,
      .dflt = "auto",
      .range = "auto|pad|resize|exact",
      .help = "how images reach the model's size: zeros around them, resizing, or not at all; auto "
              "pads when the model is at least as large and resizes otherwise" },
    { .key = "filter",
      .type = GLOW_OPT_ENUM,
      .since = 1,
      .dflt = "antialias",
      .range = IMAGE_FILTER_RANGE,
      .help = "how resizing is done; bilinear: two taps and no averaging, as TensorFlow 1 does" },
    { .key = "valid",
      .type = GLOW_OPT_INT,
      .since = 1,
      .dflt = "0",
      .range = "[0,inf)",
      .unit = "rows",
      .help = "last rows of the training part that become the valid split; 0: valid reads the test "
              "rows" },
    { .key = "holdout",
      .type = GLOW_OPT_REAL,
      .since = 1,
      .dflt = "0.1",
      .range = "(0,1)",
      .help =
          "part of the rows, the last ones, that are the test split when there is one file only" },
};

enum fit { FIT_PAD, FIT_RESIZE };

struct idx {
    struct image_shape shape; /* of a delivered row */
    int64_t height, width;    /* as stored */
    enum fit fit;
    enum image_filter filter;
    int64_t count;
    uint8_t *pixels; /* (count, height, width) */
    uint8_t *labels; /* (count) or NULL */
    struct glow_column columns[2];
};

/* ---------------------------------------------------------------- files */

struct file {
    const struct glow_self *self;
    const char *path;
    gzFile gz;
    uint32_t rank;
    int64_t size[3];
};

static const char *gz_reason(gzFile gz)
{
    int code;
    const char *text = gzerror(gz, &code);
    return code == Z_ERRNO ? strerror(errno) : code == Z_OK ? "the file ends too early" : text;
}

static int32_t read_exactly(struct file *f, void *dst, size_t n, const char *what)
{
    for (uint8_t *p = dst; n;) {
        int got = gzread(f->gz, p, n > 1 << 30 ? 1u << 30 : (unsigned)n);
        if (got <= 0)
            return dataset_fail(f->self, GLOW_EINVAL, "%s: truncated or damaged in its %s: %s",
                                f->path, what, gz_reason(f->gz));
        p += got;
        n -= (size_t)got;
    }
    return GLOW_OK;
}

/* The header promises more elements than the file can hold? Checked before memory is asked for. */
static int32_t check_length(const struct file *f, double elements)
{
    struct stat st;
    if (stat(f->path, &st) != 0)
        return dataset_fail(f->self, GLOW_EIO, "%s: %s", f->path, strerror(errno));
    double header = 4 + 4.0 * f->rank, bytes = (double)st.st_size;
    bool plain = gzdirect(f->gz);
    if (plain ? bytes != header + elements : bytes * GZIP_RATIO < elements)
        return dataset_fail(f->self, GLOW_EINVAL,
                            "%s: wrong length: the header speaks of %.0f elements, a file of %.0f "
                            "bytes; found %lld%s",
                            f->path, elements, header + elements, (long long)st.st_size,
                            plain ? "" : " (compressed)");
    return GLOW_OK;
}

/* Opens a file of u8 with `rank` sizes. The caller closes f->gz, also after an error. */
static int32_t open_file(struct file *f, const struct glow_self *self, const char *path,
                         uint32_t rank)
{
    uint8_t head[4 + 4 * 3];
    *f = (struct file){ .self = self, .path = path, .rank = rank };
    f->gz = gzopen(path, "rbe");
    if (!f->gz)
        return dataset_fail(self, errno ? GLOW_EIO : GLOW_ENOMEM, "%s: %s", path,
                            errno ? strerror(errno) : "out of memory");
    gzbuffer(f->gz, 1 << 17);
    TRY(read_exactly(f, head, 4, "header"));
    if (head[0] || head[1] || head[2] != TYPE_U8 || head[3] != rank)
        return dataset_fail(self, GLOW_EINVAL,
                            "%s: no idx file of %s: it begins with %02x %02x %02x %02x, expected "
                            "00 00 08 %02x",
                            path, rank == 3 ? "grey images" : "labels", head[0], head[1], head[2],
                            head[3], rank);
    TRY(read_exactly(f, head + 4, 4 * rank, "header"));
    double elements = 1;
    for (uint32_t i = 0; i < rank; i++) {
        const uint8_t *p = head + 4 + 4 * i;
        f->size[i] = (int64_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
        elements *= (double)f->size[i];
        if (f->size[i] < 1 || (i > 0 && f->size[i] > MAX_SIDE))
            return dataset_fail(self, GLOW_EINVAL,
                                "%s: size %u in the header is %" PRId64 ": expected 1 to %d", path,
                                i, f->size[i], MAX_SIDE);
    }
    return check_length(f, elements);
}

/* Reads rows [first, first + count) of row_bytes each into *dst, on the heap, and the rest of the
 * file too: only then has its checksum been compared. */
static int32_t read_elements(struct file *f, size_t row_bytes, int64_t first, int64_t count,
                             uint8_t **dst)
{
    size_t n = (size_t)count * row_bytes;
    uint8_t skipped[1 << 14];
    *dst = malloc(n);
    if (!*dst) return dataset_fail_memory(f->self, n);
    for (size_t left = (size_t)first * row_bytes; left;) {
        size_t some = left < sizeof skipped ? left : sizeof skipped;
        TRY(read_exactly(f, skipped, some, "elements"));
        left -= some;
    }
    TRY(read_exactly(f, *dst, n, "elements"));
    for (size_t left = (size_t)(f->size[0] - first - count) * row_bytes; left;) {
        size_t some = left < sizeof skipped ? left : sizeof skipped;
        TRY(read_exactly(f, skipped, some, "elements"));
        left -= some;
    }
    int code, extra = gzread(f->gz, skipped, 1);
    gzerror(f->gz, &code);
    if (extra > 0)
        return dataset_fail(f->self, GLOW_EINVAL,
                            "%s: more data than the %" PRId64 " rows of its header", f->path,
                            f->size[0]);
    if (code != Z_OK && code != Z_STREAM_END)
        return dataset_fail(f->self, GLOW_EINVAL, "%s: truncated or damaged at its end: %s",
                            f->path, gz_reason(f->gz));
    return GLOW_OK;
}

/* ---------------------------------------------------------------- which file, which rows */

/* The path of "train-images-idx3-ubyte" and its spellings in a directory, or NULL. */
static char *find_images(const char *directory, const char *part)
{
    static const char *const forms[] = { "%s-images-idx3-ubyte", "%s-images-idx3-ubyte.gz",
                                         "%s-images.idx3-ubyte", "%s-images.idx3-ubyte.gz" };
    for (size_t i = 0; i < GLOW_COUNT(forms); i++) {
        char name[64];
        snprintf(name, sizeof name, forms[i], part);
        char *path = dataset_path(directory, name);
        if (path && dataset_is_file(path)) return path;
        free(path);
    }
    return NULL;
}

/* The labels beside an images file: the same name with labels for images and idx1 for idx3, as it
 * is, gzipped or not; NULL when there is none. */
static char *find_labels(const char *images)
{
    char *path = malloc(strlen(images) + 4);
    if (!path) return NULL;
    strcpy(path, images);
    char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    char *word = strstr(name, "images"), *type = strstr(name, "idx3");
    if (word && type) {
        memcpy(word, "labels", 6);
        memcpy(type, "idx1", 4);
        size_t n = strlen(path);
        if (dataset_is_file(path)) return path;
        bool zipped = n > 3 && !strcmp(path + n - 3, ".gz");
        strcpy(path + (zipped ? n - 3 : n), zipped ? "" : ".gz");
        if (dataset_is_file(path)) return path;
    }
    free(path);
    return NULL;
}

/* Where a split's rows stand. */
struct place {
    char *images;  /* path */
    bool alone;    /* this file holds train and test */
    bool training; /* rows of the training part of it */
    bool valid;    /* its last `valid` rows rather than the others */
};

static int32_t find_place(const struct glow_self *self, enum dataset_split split, int64_t valid,
                          struct place *place)
{
    const char *path = self->host->opt_string(self, "path");
    place->valid = split == DATASET_VALID && valid > 0;
    place->training = split == DATASET_TRAIN || place->valid;
    if (!dataset_is_directory(path)) {
        place->alone = true;
        place->images = dataset_path(path, "");
        if (!place->images) return dataset_fail_memory(self, strlen(path));
        if (dataset_is_file(path)) return GLOW_OK;
        return dataset_fail(self, GLOW_EIO,
                            "%s: %s: expected a directory with idx files or one of them", path,
                            errno ? strerror(errno) : "no such file");
    }
    char *train = find_images(path, "train"), *test = find_images(path, "t10k");
    if (!test) test = find_images(path, "test");
    place->alone = !train || !test;
    if (train && test) {
        place->images = place->training ? train : test;
        free(place->training ? test : train);
        return GLOW_OK;
    }
    place->images = train ? train : test;
    if (place->images) return GLOW_OK;
    return dataset_fail(self, GLOW_EINVAL,
                        "%s: no idx files: expected train-images-idx3-ubyte(.gz) and "
                        "t10k-images-idx3-ubyte(.gz)",
                        path);
}

/* Rows [*first, *first + *count) of the `total` in a place's file. */
static int32_t choose_rows(const struct glow_self *self, const struct place *place, int64_t total,
                           int64_t valid, int64_t *first, int64_t *count)
{
    int64_t training = total;
    if (place->alone) {
        int64_t test = (int64_t)ceil((double)total * self->host->opt_real(self, "holdout") - 1e-9);
        training = total - test;
        dataset_log(self, 0,
                    "%s is the only file: its first %" PRId64 " rows train, its last %" PRId64
                    " test",
                    place->images, training, test);
    }
    *first = 0;
    *count = training;
    if (!place->training) {
        *first = place->alone ? training : 0;
        *count = total - *first;
    } else if (valid >= training) {
        return dataset_fail(self, GLOW_EINVAL,
                            "valid = %" PRId64 ": %s has %" PRId64 " training rows: "
                            "expected fewer",
                            valid, place->images, training);
    } else if (place->valid) {
        *first = training - valid;
        *count = valid;
    } else {
        *count = training - valid;
    }
    if (*count < 1)
        return dataset_fail(self, GLOW_EINVAL, "%s: its %" PRId64 " rows leave none for this split",
                            place->images, total);
    return GLOW_OK;
}

/* ---------------------------------------------------------------- opening */

static int32_t choose_fit(const struct glow_self *self, struct idx *idx)
{
    const char *fit = self->host->opt_string(self, "fit");
    bool larger = idx->shape.height >= idx->height && idx->shape.width >= idx->width;
    bool equal = idx->shape.height == idx->height && idx->shape.width == idx->width;
    idx->filter = image_filter_named(self->host->opt_string(self, "filter"));
    idx->fit = !strcmp(fit, "resize") || (!strcmp(fit, "auto") && !larger) ? FIT_RESIZE : FIT_PAD;
    if ((!strcmp(fit, "exact") && !equal) || (!strcmp(fit, "pad") && !larger))
        return dataset_fail(self, GLOW_EINVAL,
                            "fit = \"%s\": the images are %" PRId64 "x%" PRId64
                            " (H x W), the model "
                            "takes %" PRId64 "x%" PRId64 ": expected %s, or fit = \"resize\"",
                            fit, idx->height, idx->width, idx->shape.height, idx->shape.width,
                            !strcmp(fit, "pad") ? "at least that size" : "the same size");
    return GLOW_OK;
}

static int32_t load_images(const struct glow_self *self, struct idx *idx, const struct place *place,
                           int64_t valid, const struct glow_type *want, int64_t *first,
                           int64_t *total)
{
    struct file f;
    struct glow_type row;
    int32_t status;
    TRY_OUT(open_file(&f, self, place->images, 3));
    idx->height = f.size[1];
    idx->width = f.size[2];
    *total = f.size[0];
    struct image_shape native = { 1, idx->height, idx->width };
    TRY_OUT(dataset_image_shape(self, want, &native, &idx->shape, &row));
    TRY_OUT(choose_fit(self, idx));
    TRY_OUT(choose_rows(self, place, *total, valid, first, &idx->count));
    idx->columns[0] = dataset_image_column(&row);
    TRY_OUT(
        read_elements(&f, (size_t)(idx->height * idx->width), *first, idx->count, &idx->pixels));
out:
    if (f.gz) gzclose(f.gz);
    return status;
}

static int32_t load_labels(const struct glow_self *self, struct idx *idx, const char *images,
                           int64_t first, int64_t total)
{
    char *path = find_labels(images);
    if (!path) return GLOW_OK;
    struct file f;
    int32_t status;
    TRY_OUT(open_file(&f, self, path, 1));
    if (f.size[0] != total) {
        status = dataset_fail(self, GLOW_EINVAL,
                              "%s: %" PRId64 " labels for the %" PRId64 " images of %s", path,
                              f.size[0], total, images);
        goto out;
    }
    TRY_OUT(read_elements(&f, 1, first, idx->count, &idx->labels));
    int most = 0;
    for (int64_t i = 0; i < idx->count; i++) most = idx->labels[i] > most ? idx->labels[i] : most;
    const char *const *names = most >= DIGITS ? NULL : strstr(images, "fashion") ? fashion : digits;
    idx->columns[1] = dataset_label_column(names, names ? DIGITS : 0);
out:
    if (f.gz) gzclose(f.gz);
    free(path);
    return status;
}

static void close_split(void *state)
{
    struct idx *idx = state;
    free(idx->pixels);
    free(idx->labels);
    free(idx);
}

static int32_t open_split(const struct glow_self *self, const struct glow_data_open *open,
                          void **state, struct glow_data_info *info)
{
    struct place place = { 0 };
    enum dataset_split split;
    int64_t first = 0, total = 0, valid = self->host->opt_int(self, "valid");
    int32_t status;
    struct idx *idx = calloc(1, sizeof *idx);
    if (!idx) return dataset_fail_memory(self, sizeof *idx);
    TRY_OUT(dataset_split(self, open->split, &split));
    errno = 0;
    TRY_OUT(find_place(self, split, valid, &place));
    TRY_OUT(load_images(self, idx, &place, valid, &open->want, &first, &total));
    TRY_OUT(load_labels(self, idx, place.images, first, total));

    size_t bytes = (size_t)(idx->count * idx->height * idx->width);
    info->column_size = sizeof idx->columns[0];
    info->n_columns = idx->labels ? 2 : 1;
    info->columns = idx->columns;
    info->flags = 0;
    info->count = idx->count;
    info->fingerprint = dataset_mix(dataset_hash_int(dataset_hash_int(DATASET_HASH, idx->count),
                                                     (int64_t)crc32_z(0, idx->pixels, bytes)));
    *state = idx;
out:
    free(place.images);
    if (status != GLOW_OK) close_split(idx);
    return status;
}

/* ---------------------------------------------------------------- reading */

/* The image in the middle of zeros. */
static void pad(const struct idx *idx, const uint8_t *src, uint8_t *dst)
{
    int64_t top = (idx->shape.height - idx->height) / 2, left = (idx->shape.width - idx->width) / 2;
    memset(dst, 0, (size_t)(idx->shape.height * idx->shape.width));
    for (int64_t y = 0; y < idx->height; y++)
        memcpy(dst + (top + y) * idx->shape.width + left, src + y * idx->width, (size_t)idx->width);
}

static int32_t read_images(const struct glow_self *self, const struct idx *idx,
                           const struct glow_data_read *request, uint8_t *dst)
{
    struct image_resizer resizer = { 0 };
    const struct image_box whole = { 0, 0, (double)idx->width, (double)idx->height };
    size_t plane = (size_t)(idx->shape.height * idx->shape.width);
    if (idx->fit == FIT_RESIZE &&
        !image_resizer_set(&resizer, idx->width, idx->height, 1, &whole, idx->shape.width,
                           idx->shape.height, idx->filter)) {
        image_resizer_free(&resizer);
        return dataset_fail_memory(self, plane);
    }
    for (uint32_t i = 0; i < request->n; i++) {
        const uint8_t *src = idx->pixels + request->index[i] * idx->height * idx->width;
        if (idx->fit == FIT_RESIZE)
            image_resize(&resizer, src, dst);
        else
            pad(idx, src, dst);
        for (int64_t c = 1; c < idx->shape.channels; c++)
            memcpy(dst + (size_t)c * plane, dst, plane);
        dst += (size_t)idx->shape.channels * plane;
    }
    image_resizer_free(&resizer);
    return GLOW_OK;
}

static int32_t read_rows(const struct glow_self *self, void *state,
                         const struct glow_data_read *request)
{
    const struct idx *idx = state;
    TRY(dataset_check_rows(self, request, idx->count));
    int32_t *label = idx->labels ? request->dst[1] : NULL;
    for (uint32_t i = 0; label && i < request->n; i++) label[i] = idx->labels[request->index[i]];
    return request->dst[0] ? read_images(self, idx, request, request->dst[0]) : GLOW_OK;
}

static const struct glow_dataset dataset = {
    GLOW_HEAD(struct glow_dataset, GLOW_DATASET, 1, "idx",
              "grey images and labels in idx files: MNIST, Fashion-MNIST", options,
              GLOW_COUNT(options)),
    .open = open_split,
    .close = close_split,
    .read = read_rows,
};

static const struct glow_desc *const descs[] = { &dataset.head, NULL };
GLOW_EXPORT const struct glow_plugin glow_plugin_v1 = {
    sizeof glow_plugin_v1, GLOW_ABI_MINOR, "idx", "1", "", descs
};
