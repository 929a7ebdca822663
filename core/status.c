/* status.c - the message of each thread, and notes on stderr. A message is at most MESSAGE_SIZE - 1
 * bytes long; a longer one is cut. Its arguments may hold the previous message. */
#include "status.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_SIZE = 4096 };

static _Thread_local char message[MESSAGE_SIZE];
static pthread_mutex_t note_lock = PTHREAD_MUTEX_INITIALIZER;
int note_level;
volatile sig_atomic_t cancel_requested;

glow_status fail(glow_status code, const char *format, ...)
{
    char text[MESSAGE_SIZE]; /* the arguments may point into `message` */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(message, text, strlen(text) + 1);
    return code;
}

glow_status fail_memory(size_t n, const char *owner)
{
    return fail(GLOW_ENOMEM, "%s: out of memory (%zu bytes were wanted)", owner, n);
}

glow_status fail_context(glow_status code, const char *format, ...)
{
    char context[MESSAGE_SIZE], text[2 * MESSAGE_SIZE + 2];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    snprintf(text, sizeof text, "%s: %s", context, message);
    text[MESSAGE_SIZE - 1] = '\0';
    memcpy(message, text, strlen(text) + 1);
    return code;
}

const char *fail_message(void) { return message; }

void note(int level, const char *format, ...)
{
    if (level < note_level) return;
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&note_lock);
    fputs(level > 0 ? "glow: warning: " : "glow: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    pthread_mutex_unlock(&note_lock);
    va_end(args);
}
