/* fixtures.h - files for the tests of dataset plug-ins, made at run time with the libraries that
 * also read them. Names are relative to harness_directory; folders are made as needed. Every
 * function ends the test when it fails. */
#ifndef TESTS_DATASETS_FIXTURES_H
#define TESTS_DATASETS_FIXTURES_H
#include <stddef.h>
#include <stdint.h>

void fixture_file(const char *name, const void *bytes, size_t n);
void fixture_text(const char *name, const char *text);
/* The content of a file on the heap. */
uint8_t *fixture_read(const char *name, size_t *n);
void fixture_folder(const char *name);

/* An idx file of u8: `rank` sizes and their product of elements; gzipped when the name ends in .gz.
 */
void fixture_idx(const char *name, int rank, const uint32_t *sizes, const uint8_t *elements);
/* Interleaved (H,W,C) pixels; C = 1 or 3. JPEG: quality 1..100, no chroma subsampling. */
void fixture_jpeg(const char *name, int width, int height, int channels, const uint8_t *pixels,
                  int quality);
/* colour: an SPNG_COLOR_TYPE_*; pixels as that type stores them, 8 bits, or depth 16 big-endian.
 * palette: 256 RGBA entries, or NULL. */
void fixture_png(const char *name, int width, int height, int colour, int depth, const void *pixels,
                 const uint8_t (*palette)[4]);
/* An archive of files that exist: each entry ENTRY/BASE gets the content of FOLDER/BASE. */
void fixture_zip(const char *name, const char *entry, const char *folder, int n,
                 const char *const *bases);
/* A .npy file with this header dictionary. version 1 or 2. */
void fixture_npy(const char *name, int version, const char *dictionary, const void *data, size_t n);
#endif
