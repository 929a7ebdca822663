/* backend_module.h - what the host and a backend in a module of its own (glow-cuda.so) know of each
 * other. The module exports one constant of this type, BACKEND_SYMBOL, and takes nothing from the
 * host but the functions below. Both sides are of one build: the ABI of plug-ins ends here. */
#ifndef CORE_BACKEND_MODULE_H
#define CORE_BACKEND_MODULE_H
#include "backend.h"

#define BACKEND_SYMBOL "glow_backend_module"

/* What must be equal on both sides. */
struct backend_build {
    char version[16];
    uint32_t operations, backend_size, step_size, tensor_size;
};
#define BACKEND_BUILD                                                                              \
    {                                                                                              \
        PACKAGE_VERSION, OP_COUNT, sizeof(struct backend), sizeof(struct step),                    \
            sizeof(struct tensor)                                                                  \
    }

struct backend_host {
    void (*fail)(glow_status code, const char *text); /* what the module's fail() records */
    void (*note)(int level, const char *text);
};

struct backend_module {
    struct backend_build build;
    /* The backend, or NULL and the reason when this machine can't run it. */
    const struct backend *(*start)(const struct backend_host *, char *why, size_t size);
};
#endif
