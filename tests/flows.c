/* flows.c - see the header. */
#include "flows.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const flows_odd[] = { "oneway",  "fold", "approximate", "shared_noise",
                                  "fragile", "deaf", NULL };

void flows_load_odd(void)
{
    char source[64];
    for (size_t i = 0; flows_odd[i]; i++) {
        snprintf(source, sizeof source, "plugins/%s.c", flows_odd[i]);
        rig_load(source);
    }
}

static const char *flow_text(int which)
{
    switch (which) {
    case 0: return rig_glow(8, 3, 3, 2, 6);
    case 1:
        return "input = [8, 8, 2]; flow = ( { layer = \"logit\"; }, { layer = \"squeeze\"; order = "
               "\"channel\"; "
               "}, { layer = \"invconv\"; lu = false; }, { layer = \"additive\"; net = { type = "
               "\"resnet\"; "
               "blocks = 2; }; }, { layer = \"factor_out\"; keep = \"first\"; prior = \"learned\"; "
               "}, { layer = "
               "\"permute\"; mode = \"shuffle\"; }, { layer = \"affine\"; scale = \"exp\"; swap = "
               "true; net = { "
               "type = \"openai\"; width = 5; }; } ); prior = { y = { type = \"normal\"; form = "
               "\"diagonal\"; }; "
               "};";
    case 2:
        return "input = [5]; flow = ( { repeat = 3; name = \"step\"; flow = ( { layer = "
               "\"actnorm\"; }, { layer = "
               "\"invconv\"; }, { layer = \"affine\"; net = { type = \"mlp\"; widths = [7]; "
               "activation = "
               "\"tanh\"; }; } ); } ); prior = { y = \"learned\"; };";
    default: /* restore, no inverse, an approximate one, noise for all, in turn with couplings */
        return "input = [4, 4, 4]; flow = ( { layer = \"actnorm\"; }, { layer = \"shared_noise\"; "
               "}, { layer = "
               "\"affine\"; net = { type = \"openai\"; width = 4; }; }, { layer = \"oneway\"; }, { "
               "layer = "
               "\"actnorm\"; }, { layer = \"fold\"; }, { layer = \"invconv\"; }, { layer = "
               "\"approximate\"; }, "
               "{ layer = \"fold\"; }, { layer = \"additive\"; net = { type = \"openai\"; width = "
               "4; }; }, { "
               "layer = \"oneway\"; } );";
    }
}

struct model *flows_model(int which, int32_t real, int threads)
{
    struct model *m;
    flows_load_odd();
    if (rig_try_model(&m, flow_text(which),
                      &(struct model_options){ .threads = threads, .real = real, .seed = 3 }) !=
        GLOW_OK)
        ck_abort_msg("%s", fail_message());
    rig_perturb(m, 0.05);
    return m;
}

/* Grey values for flows that begin with a dequantiser, else normal numbers. */
void flows_write(const struct program *p, uint64_t stream)
{
    double x[2000];
    struct tensor *t = program_input(p, "x");
    int64_t n = tensor_count(t);
    const char *first = p->model->layers[0].self->info->desc->id;
    ck_assert_int_le(n, 2000);
    if (!strcmp(first, "quantize") || !strcmp(first, "logit")) {
        rig_uniform(stream, 0, 256, x, n);
        for (int64_t i = 0; i < n; i++) x[i] = floor(x[i]) / 255;
    } else
        rig_gauss(stream, x, n);
    rig_write(p, "x", x);
}
