/* plugin_suite.c - see the header. */
#include "plugin_suite.h"
#include <stdio.h>

void suite_conforms(uint32_t kind, const char *id, int least, int skipped)
{
    struct conform_report r = { 0 };
    const struct plugin_info *info = rig_find(kind, id);
    if (conform_run(rig_registry(), info, NULL, &r) != GLOW_OK) ck_abort_msg("%s", fail_message());
    if (r.failed) conform_print(stderr, &r, false);
    for (int i = 0; i < r.n && r.skipped != skipped; i++)
        if (r.findings[i].verdict == VERDICT_SKIP)
            fprintf(stderr, "skipped: %s, %s: %s\n", r.findings[i].subject, r.findings[i].check,
                    r.findings[i].detail);
    ck_assert_int_eq(r.failed, 0);
    ck_assert_int_ge(r.passed, least);
    ck_assert_int_eq(r.skipped, skipped);
    conform_free(&r);
}

struct suite_layer suite_layer(const char *layer, const char *input, int64_t batch)
{
    char members[1024];
    struct suite_layer l;
    snprintf(members, sizeof members, "input = %s; flow = ( { %s } );", input, layer);
    l.model = rig_model(members, DT_F64);
    l.encode = rig_program(l.model, PROGRAM_ENCODE, batch);
    l.decode = rig_program(l.model, PROGRAM_DECODE, batch);
    return l;
}

void suite_layer_free(struct suite_layer *l)
{
    program_free(l->encode);
    program_free(l->decode);
    model_free(l->model);
}

void suite_forward(const struct suite_layer *l, const double *x, double *y, double *logdet)
{
    rig_write(l->encode, "x", x);
    rig_go(l->encode);
    rig_read(l->encode, "latent:y", y);
    rig_read(l->encode, "logdet", logdet);
}

void suite_inverse(const struct suite_layer *l, const double *y, double *x)
{
    rig_write(l->decode, "latent:y", y);
    rig_go(l->decode);
    rig_read(l->decode, "x", x);
}

void suite_equal(const char *what, const double *a, const double *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!(rig_difference(a + i, b + i, 1) <= 1e-12))
            ck_abort_msg("%s: element %lld is %.17g, expected %.17g", what, (long long)i, a[i],
                         b[i]);
}
