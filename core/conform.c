/* conform.c - the report, the variants of options, and what is common to all kinds. */
#include "conform.h"
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "model.h"
#include "options.h"
#include "philox.h"

void conform_add(struct conform_report *r, const char *subject, const char *check,
                 enum verdict verdict, const char *format, ...)
{
    va_list list;
    if (r->n == r->cap) {
        int cap = r->cap ? 2 * r->cap : 64;
        struct finding *fresh = realloc(r->findings, (size_t)cap * sizeof *fresh);
        if (!fresh) { /* never lose a failure */
            r->failed++;
            return;
        }
        r->findings = fresh;
        r->cap = cap;
    }
    struct finding *f = &r->findings[r->n++];
    memset(f, 0, sizeof *f);
    snprintf(f->subject, sizeof f->subject, "%s", subject);
    snprintf(f->check, sizeof f->check, "%s", check);
    f->verdict = verdict;
    va_start(list, format);
    vsnprintf(f->detail, sizeof f->detail, format, list);
    va_end(list);
    r->passed += verdict == VERDICT_PASS;
    r->failed += verdict == VERDICT_FAIL;
    r->skipped += verdict == VERDICT_SKIP;
}

void conform_bound(struct conform_report *r, const char *subject, const char *check, double value,
                   double bound)
{
    conform_add(r, subject, check, value <= bound ? VERDICT_PASS : VERDICT_FAIL,
                "%.1e (bound %.1e)", value, bound);
}

void conform_noise(uint64_t stream, uint32_t dist, double *out, int64_t n)
{
    uint32_t key[2] = { 0x676c6f77u, 0x636865u };
    for (int64_t i = 0; i < n; i++) {
        uint32_t counter[4] = { (uint32_t)i, (uint32_t)(i >> 32), (uint32_t)stream,
                                (uint32_t)(stream >> 32) };
        struct philox w = philox(counter, key);
        double two[2];
        philox_gauss(w.v[0], w.v[1], two);
        out[i] = dist == GLOW_GAUSS ? two[0] : philox_uniform(w.v[0]);
    }
}

glow_status conform_perturb(struct model *m, uint64_t stream)
{
    for (int i = 0; i < m->n_params; i++) {
        int64_t n = m->params[i].count;
        if (m->params[i].flags & GLOW_PARAM_FROZEN) continue;
        double *w = calloc(2 * (size_t)n, sizeof *w);
        if (!w) return fail_memory(2 * (size_t)n * sizeof *w, "conformance");
        model_get(m, m->weights, i, w);
        conform_noise(stream + (uint64_t)i, GLOW_GAUSS, w + n, n);
        for (int64_t k = 0; k < n; k++) w[k] += 0.1 * w[n + k];
        model_set(m, m->weights, i, w);
        free(w);
    }
    return GLOW_OK;
}

/* ---------------------------------------------------------------- options */

static const struct glow_option *record(const struct glow_desc *d, uint32_t i)
{
    return (const void *)((const char *)d->options + (size_t)i * d->option_size);
}

static glow_status enum_variants(const struct glow_option *o,
                                 glow_status (*visit)(void *, const char *), void *context)
{
    char text[256], *choices = strdup(o->range ? o->range : ""), *at = NULL;
    glow_status status = choices ? GLOW_OK : fail_memory(64, "conformance");
    for (char *c = choices ? strtok_r(choices, "|", &at) : NULL; c && status == GLOW_OK;
         c = strtok_r(NULL, "|", &at)) {
        snprintf(text, sizeof text, "%s = \"%s\";", o->key, c);
        if (o->dflt && !strcmp(o->dflt, c)) continue; /* the defaults are a variant of their own */
        status = visit(context, text);
    }
    free(choices);
    return status;
}

glow_status conform_variants(const struct glow_desc *d,
                             glow_status (*visit)(void *, const char *text), void *context)
{
    char text[256];
    TRY(visit(context, ""));
    for (uint32_t i = 0; i < d->n_options; i++) {
        const struct glow_option *o = record(d, i);
        if (o->type == GLOW_OPT_ENUM) TRY(enum_variants(o, visit, context));
        if (o->type == GLOW_OPT_BOOL) {
            snprintf(text, sizeof text, "%s = %s;", o->key,
                     o->dflt && !strcmp(o->dflt, "true") ? "false" : "true");
            TRY(visit(context, text));
        }
    }
    return GLOW_OK;
}

/* Tries one assignment that must be refused. */
static void must_refuse(const struct plugin_info *info, const char *text, struct conform_report *r)
{
    struct config *c;
    struct options *o = NULL;
    char subject[160], whole[400];
    snprintf(subject, sizeof subject, "%s %s, %s", kind_name(info->desc->kind), info->desc->id,
             text);
    snprintf(whole, sizeof whole, "it: { %s };", text);
    if (config_parse(&c, whole, "check") != GLOW_OK) {
        conform_add(r, subject, "bad option refused", VERDICT_FAIL, "%s", fail_message());
        return;
    }
    glow_status status =
        options_resolve(&o, info->desc, config_find(c, "it"), NULL, info->desc->id);
    bool missing = status != GLOW_OK && strstr(fail_message(), "required");
    conform_add(r, subject, "bad option refused",
                status == GLOW_OK ? VERDICT_FAIL
                : missing         ? VERDICT_SKIP
                                  : VERDICT_PASS,
                "%s", status == GLOW_OK ? "it was accepted" : fail_message());
    options_free(status == GLOW_OK ? o : NULL);
    config_free(c);
}

glow_status conform_options(struct registry *registry, const struct plugin_info *info,
                            struct conform_report *r)
{
    char text[200];
    (void)registry;
    glow_status status = options_check_records(info->desc);
    conform_add(r, info->desc->id, "option records",
                status == GLOW_OK ? VERDICT_PASS : VERDICT_FAIL, "%u options%s%s",
                info->desc->n_options, status == GLOW_OK ? "" : ": ",
                status == GLOW_OK ? "" : fail_message());
    must_refuse(info, "no_such_option = 1;", r);
    for (uint32_t i = 0; i < info->desc->n_options; i++) {
        const struct glow_option *o = record(info->desc, i);
        switch (o->type) {
        case GLOW_OPT_INT:
        case GLOW_OPT_REAL: snprintf(text, sizeof text, "%s = \"words\";", o->key); break;
        case GLOW_OPT_ENUM: snprintf(text, sizeof text, "%s = \"no_such_choice\";", o->key); break;
        case GLOW_OPT_BOOL:
        case GLOW_OPT_STRING:
        case GLOW_OPT_PATH: snprintf(text, sizeof text, "%s = 17.5;", o->key); break;
        case GLOW_OPT_CHILD: snprintf(text, sizeof text, "%s = 17;", o->key); break;
        default: snprintf(text, sizeof text, "%s = { a = 1; };", o->key);
        }
        must_refuse(info, text, r);
    }
    return GLOW_OK;
}

/* ---------------------------------------------------------------- the suite */

glow_status conform_run(struct registry *registry, const struct plugin_info *info,
                        const char *extra, struct conform_report *r)
{
    extra = extra ? extra : "";
    TRY(conform_options(registry, info, r));
    switch (info->desc->kind) {
    case GLOW_LAYER:
    case GLOW_NET: return conform_layer(registry, info, extra, r);
    case GLOW_PRIOR: return conform_prior(registry, info, extra, r);
    case GLOW_DATASET: return conform_dataset(registry, info, extra, r);
    default:
        conform_add(r, info->desc->id, "custom operation", VERDICT_SKIP,
                    "checked through the layers that call it: kernel = decomposition, gradients");
        return GLOW_OK;
    }
}

void conform_print(FILE *f, const struct conform_report *r, bool everything)
{
    static const char *const words[] = { "ok", "FAIL", "skip" };
    const char *last = "";
    for (int i = 0; i < r->n; i++) {
        const struct finding *x = &r->findings[i];
        if (!everything && x->verdict != VERDICT_FAIL) continue;
        if (strcmp(last, x->subject)) fprintf(f, "%s\n", x->subject);
        last = x->subject;
        fprintf(f, "  %-4s  %-34s %s\n", words[x->verdict], x->check, x->detail);
    }
    fprintf(f, "%d passed, %d failed, %d skipped\n", r->passed, r->failed, r->skipped);
}

void conform_free(struct conform_report *r)
{
    free(r->findings);
    *r = (struct conform_report){ 0 };
}
