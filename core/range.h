/* range.h - the ranges of option records: "[1,8]", "(0,inf)"; "#[1,4]" is a range of a list's
 * length, and both may stand in one text, "#[1,4] (0,inf)". */
#ifndef CORE_RANGE_H
#define CORE_RANGE_H
#include <stdbool.h>

struct range {
    double lo, hi;
    bool lo_open, hi_open;
};

/* Reads text (NULL: no bounds) into the bounds of a value and of a length. False when malformed. */
bool range_parse(const char *text, struct range *value, struct range *length);
bool range_holds(const struct range *, double x);
#endif
