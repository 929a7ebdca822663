/* test_squeeze.c - squeeze: the suite, and both orders element by element. */
#include <string.h>
#include "plugin_suite.h"

START_TEST(conforms) { suite_conforms(GLOW_LAYER, "squeeze", 48, 2); }
END_TEST

/* (C,H,W) = (3,4,6) with a number in each place that tells where it was: channel, row, column. */
static void check(const char *order)
{
    enum { C = 3, H = 4, W = 6, N = C * H * W };
    char layer[100];
    double x[N], y[N], ld, back[N], zero = 0;
    snprintf(layer, sizeof layer, "layer = \"squeeze\"; order = \"%s\";", order);
    struct suite_layer l = suite_layer(layer, "[4, 6, 3]", 1);
    const struct glow_type *out = &l.model->layers[0].out;
    ck_assert(out->dim[0] == 4 * C && out->dim[1] == H / 2 && out->dim[2] == W / 2);
    for (int i = 0; i < N; i++) x[i] = 100 * (i / (H * W)) + 10 * (i / W % H) + i % W;
    suite_forward(&l, x, y, &ld);
    suite_equal("logdet", &ld, &zero, 1);
    for (int i = 0; i < N; i++) {
        int channel = i / (H * W / 4), row = i / (W / 2) % (H / 2), column = i % (W / 2);
        int block = !strcmp(order, "block"), c = block ? channel % C : channel / 4;
        int at = block ? channel / C : channel % 4, dy = at / 2, dx = at % 2;
        double want = 100 * c + 10 * (2 * row + dy) + 2 * column + dx;
        if (y[i] != want)
            ck_abort_msg("%s: channel %d, %d,%d is %g, expected %g", order, channel, row, column,
                         y[i], want);
    }
    suite_inverse(&l, y, back);
    suite_equal("x", back, x, N);
    suite_layer_free(&l);
}

START_TEST(block) { check("block"); }
END_TEST
START_TEST(channel) { check("channel"); }
END_TEST

static void check_refused(const char *input, const char *message)
{
    char members[100];
    struct model *m;
    snprintf(members, sizeof members, "input = %s; flow = ( { layer = \"squeeze\"; } );", input);
    ck_assert_int_eq(rig_try_model(&m, members, &(struct model_options){ .threads = 1 }),
                     GLOW_EINVAL);
    rig_message(message);
}

START_TEST(refuses)
{
    check_refused("[4, 5, 3]", "squeeze needs an even height and width, got 4x5");
    check_refused("[3, 4, 3]", "squeeze needs an even height and width, got 3x4");
    check_refused("[8]", "squeeze needs images (C,H,W), got 1 axes");
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("squeeze");
    tcase_add_test(tests, conforms);
    tcase_add_test(tests, block);
    tcase_add_test(tests, channel);
    tcase_add_test(tests, refuses);
    return rig_run(tests);
}
