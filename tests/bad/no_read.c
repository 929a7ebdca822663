/* no_read.c - a dataset that cannot be read. */
#include "bad.h"

static int32_t data_open(const struct glow_self *self, const struct glow_data_open *o, void **state,
                         struct glow_data_info *info)
{
    (void)self;
    (void)o;
    (void)state;
    (void)info;
    return GLOW_OK;
}
static void data_close(void *state) { (void)state; }
static const struct glow_dataset dataset = {
    .head = GLOW_HEAD(struct glow_dataset, GLOW_DATASET, 1, "no_read", "no data", NULL, 0),
    .open = data_open,
    .close = data_close,
};
PLUGIN(&dataset.head, NULL);
