/* descriptor.h - the data of a plug-in, checked field by field and copied into structs of this
 * host's size, so that no other file needs to know about sizes and strides of older or newer
 * plug-ins. */
#ifndef CORE_DESCRIPTOR_H
#define CORE_DESCRIPTOR_H
#include <stdbool.h>
#include "bump.h"
#include "status.h"

/* Checks the head of a plug-in: size and minor. The symbol has `available` bytes. */
glow_status descriptor_check_plugin(const struct glow_plugin *, size_t available);
/* Checks a descriptor and copies it, its options, ports and kernels, into memory. *copy = NULL
 * without an error: a kind that this host does not know. Messages name id, field and sizes. */
glow_status descriptor_copy(const struct glow_desc *, struct bump *memory,
                            const struct glow_desc **copy);
/* Whether a text can be an id: a letter, then letters, digits, _ or -, at most 63 in all. */
bool descriptor_is_id(const char *);
const char *descriptor_kind_name(uint32_t kind);
#endif
