/* status.h - how functions of the core fail: a negative status and one message, formatted once,
 * where the error happens, in words that a user can act on: what, where, what was expected. */
#ifndef CORE_STATUS_H
#define CORE_STATUS_H
#include <signal.h>
#include "glow/plugin.h"

typedef int glow_status; /* GLOW_OK or GLOW_E* of glow/plugin.h */

#define TRY(expr)                                                                                  \
    do {                                                                                           \
        glow_status try_status_ = (expr);                                                          \
        if (try_status_ != GLOW_OK) return try_status_;                                            \
    } while (0)
/* The same in functions that clean up behind a label `out:` and return `status`. */
#define TRY_OUT(expr)                                                                              \
    do {                                                                                           \
        if ((status = (expr)) != GLOW_OK) goto out;                                                \
    } while (0)

/* Records the message of this thread and returns code, so that `return fail(GLOW_EINVAL, ...)`. */
glow_status fail(glow_status code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, for want of n bytes for `owner`. */
glow_status fail_memory(size_t n, const char *owner);
/* Puts "context: " before the message of this thread. Returns code. */
glow_status fail_context(glow_status code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The last message of this thread; "" if there is none. Valid until the next fail. */
const char *fail_message(void);

/* Notes for the user on stderr: "glow: warning: ...". Level 0 info, 1 warning. Thread-safe. */
void note(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Messages below this level are dropped; default 0. */
extern int note_level;

/* Non-zero once the user asked to stop (SIGINT): long work returns GLOW_ECANCEL soon. */
extern volatile sig_atomic_t cancel_requested;
#endif
