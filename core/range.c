/* range.c - interval notation: [ ] include the bound, ( ) exclude it; inf and -inf are bounds too.
 */
#include "range.h"
#include <math.h>
#include <stdlib.h>

static bool parse_one(const char **text, struct range *r)
{
    const char *p = *text;
    char *end;
    if (*p != '[' && *p != '(') return false;
    r->lo_open = *p == '(';
    r->lo = strtod(p + 1, &end);
    if (end == p + 1 || *end != ',') return false;
    p = end + 1;
    r->hi = strtod(p, &end);
    if (end == p || (*end != ']' && *end != ')')) return false;
    r->hi_open = *end == ')';
    *text = end + 1;
    return r->lo <= r->hi; /* false for NaN too */
}

bool range_parse(const char *text, struct range *value, struct range *length)
{
    *value = *length = (struct range){ -INFINITY, INFINITY, false, false };
    if (!text) return true;
    while (*text) {
        bool of_length = *text == '#';
        text += of_length;
        if (!parse_one(&text, of_length ? length : value)) return false;
        while (*text == ' ') text++;
    }
    return true;
}

bool range_holds(const struct range *r, double x)
{
    return (r->lo_open ? x > r->lo : x >= r->lo) && (r->hi_open ? x < r->hi : x <= r->hi);
}
