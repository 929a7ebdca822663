/* compile.h - builds a plug-in from one source file, as a stranger would: with one cc line. */
#ifndef TESTS_COMPILE_H
#define TESTS_COMPILE_H
#include <stdio.h>
#include <stdlib.h>

/* source: relative to tests/ of the source tree. flags: of this file, may be "". */
static inline void compile_plugin(const char *source, const char *target, const char *flags)
{
    char command[2000];
    const char *cc = getenv("CC"), *top = getenv("srcdir");
    snprintf(
        command, sizeof command,
        "%s -std=gnu11 -shared -fPIC -fvisibility=hidden %s -I'%s/core/include' -I'%s/tests/abi' "
        "'%s/tests/%s' -o '%s' -lm",
        cc ? cc : "cc", flags, top ? top : ".", top ? top : ".", top ? top : ".", source, target);
    if (system(command) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        exit(99);
    }
}
#endif
