/* literal.h - between options.c and options_records.c: a value as it was written, whatever
 * the source, and the checked value of an option. */
#ifndef CORE_LITERAL_H
#define CORE_LITERAL_H
#include "bump.h"
#include "options.h"

struct literal {
    enum config_kind kind;
    int64_t integer;            /* INT, BOOL */
    double real;                /* REAL */
    const char *string;         /* STRING; of a GROUP its `type`, or NULL */
    const struct literal *item; /* LIST, ARRAY */
    int n;
};

struct option_value {
    int64_t integer;      /* INT, BOOL */
    double real;          /* REAL, INT */
    const char *string;   /* STRING, ENUM, PATH; CHILD: the id; never NULL */
    const double *reals;  /* INTS, REALS */
    const char **strings; /* STRINGS */
    int64_t n;
    const struct config_node *node; /* NULL when it comes from elsewhere */
    bool given;
};

/* Literals and values keep their memory in the bump. */
glow_status literal_from_node(struct literal *, const struct config_node *, struct bump *);
/* A record's dflt or legacy: configuration text; of a string, ENUM, PATH or CHILD also a bare word.
 */
glow_status literal_from_text(struct literal *, const char *text, uint32_t type, struct bump *);
glow_status literal_from_json(struct literal *, const json_t *, struct bump *);
/* Checks type, range, words and lengths. The message says what was found and what is allowed. */
glow_status literal_check(const struct literal *, const struct glow_option *, struct option_value *,
                          struct bump *);
/* Makes a PATH given in a configuration absolute or relative to the working directory: "~" is the
 * home directory; a file's relative paths start at the file, those of overrides at the working
 * directory. */
glow_status literal_anchor(struct option_value *, const struct config_node *, struct bump *);
#endif
