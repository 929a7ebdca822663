/* module.c - what glow-cuda.so shows the host, and the host's fail() and note() for the files of
 * this module, which are built without the rest of the core. */
#include <stdarg.h>
#include <stdio.h>
#include "../backend_module.h"
#include "engine.h"

static const struct backend_host *host;
static _Thread_local char message[2048];

static glow_status record(glow_status code)
{
    host->fail(code, message);
    return code;
}

glow_status fail(glow_status code, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(message, sizeof message, format, list);
    va_end(list);
    return record(code);
}

glow_status fail_memory(size_t n, const char *owner)
{
    return fail(GLOW_ENOMEM, "%s: out of memory (%zu bytes)", owner, n);
}

glow_status fail_context(glow_status code, const char *format, ...)
{
    char before[2048], context[512];
    va_list list;
    snprintf(before, sizeof before, "%s", message);
    va_start(list, format);
    vsnprintf(context, sizeof context, format, list);
    va_end(list);
    snprintf(message, sizeof message, "%s: %.1500s", context, before);
    return record(code);
}

void note(int level, const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    host->note(level, text);
}

static const struct backend *start(const struct backend_host *from, char *why, size_t size)
{
    host = from;
    return engine_usable(why, size) ? &backend_cuda : NULL;
}

extern const struct backend_module glow_backend_module;
__attribute__((visibility("default")))
const struct backend_module glow_backend_module = { BACKEND_BUILD, start };
