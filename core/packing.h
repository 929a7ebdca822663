/* packing.h - how weights of a convolution chain are kept for good: as the panels that products
 * read, so that no step packs or unpacks them. Parameters, their gradients and moments share a
 * packing; checkpoints and plug-ins see C order.
 *
 * The weights (out, in + edge, kh, kw) of a stage are a matrix: rows `out`, columns (in + edge,
 * tap); or, when `scatter`, rows (out, tap), columns `in`, and the edge channel's (out, tap) apart,
 * behind the panels. The matrix, or its transpose when `turned`, is cut into panels of `panel`
 * columns: element (r,c) lies at c / panel * panel_stride + r * panel + c % panel. Padding is 0. */
#ifndef CORE_PACKING_H
#define CORE_PACKING_H
#include <stdint.h>

struct packing {
    int64_t out, in, taps, edge; /* edge: 0 or 1 channels behind `in` */
    int32_t scatter, turned, panel;
    int64_t panel_stride; /* elements */
    int64_t edge_offset;  /* of the edge channel when it lies apart */
    int64_t count;        /* elements in all, padding included */
};

/* Fills in the rest of a packing whose out, in, taps, edge, scatter, turned and panel are set. */
void packing_complete(struct packing *);
/* Rows and columns of what is cut into panels. */
int64_t packing_rows(const struct packing *);
int64_t packing_columns(const struct packing *);
/* Copies weights of one real type (DT_F32, DT_F64) from C order into a packing, whose padding is
 * cleared, and back. */
void packing_pack(const struct packing *, int32_t dtype, void *packed, const void *plain);
void packing_unpack(const struct packing *, int32_t dtype, void *plain, const void *packed);
/* The same for outputs first .. first+n-1 alone, padding left as it is. */
void packing_pack_outputs(const struct packing *, int32_t dtype, void *packed, const void *plain,
                          int64_t first, int64_t n);
void packing_unpack_outputs(const struct packing *, int32_t dtype, void *plain, const void *packed,
                            int64_t first, int64_t n);
/* Where the element of that number in C order lies. */
int64_t packing_position(const struct packing *, int64_t element);
int packing_equal(const struct packing *, const struct packing *);
#endif
