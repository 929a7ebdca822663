/* backend.c - the list of backends. */
#include "backend.h"
#include <string.h>

static const struct backend *const backends[] = { &backend_cpu }; /* "auto" takes the first */
enum { N_BACKENDS = sizeof backends / sizeof *backends };

glow_status backend_find(const char *name, const struct backend **out)
{
    *out = NULL;
    if (strcmp(name, "auto") == 0) *out = backends[0];
    for (int i = 0; i < N_BACKENDS; i++)
        if (strcmp(name, backends[i]->name) == 0) *out = backends[i];
    if (*out) return GLOW_OK;
    char there[128] = "auto";
    for (int i = 0; i < N_BACKENDS; i++) {
        strncat(there, ", ", sizeof there - strlen(there) - 1);
        strncat(there, backends[i]->name, sizeof there - strlen(there) - 1);
    }
    return fail(GLOW_EINVAL, "backend \"%s\": not in this program; there are: %s", name, there);
}
