/* chain_vjp.c - conv_chain backward: from the gradient of the result those of the operand and of
 * all weights, group by group. Derivatives of ReLUs and gradients of biases ride along with
 * products where cuBLASLt has a way for that (plans.c), else they are passes of their own. The same
 * walk counts the scratch (run NULL) and does the work. */
#include "chain.h"

static int64_t max_int(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t min_int(int64_t a, int64_t b) { return a < b ? a : b; }

struct backward_work {
    struct forward_work again;
    void *result;    /* planes of y, where the last activation needs it */
    void *d_result;  /* planes: its gradient before the activation */
    void *d[2];      /* (p, channel), inner */
    void *d_windows; /* (p, (out,tap)) of SCATTER, (p, out) of a last stage: operands of products */
    void *d_wide;    /* (p, (in,tap)) of GATHER, (p, in) of a first stage: to be added up */
    int computes_again;
};

/* Where the result of the last activation is needed, as planes. */
static struct planes dense_planes(const struct chain *c, void *data, int64_t channels)
{
    return (struct planes){ data, c->plane * channels, c->plane, 1, c->dtype };
}

/* ---------------------------------------------------------------- room and ways */

/* The gradient of a stage's weights: dw += D^T operand. */
static struct product dw_product(const struct chain *c, int i, int64_t images, int64_t group)
{
    const struct chain_stage *s = &c->stage[i];
    return (struct product){ .dtype = c->inner,
                             .result = c->dtype,
                             .fast = 1,
                             .rows = s->rows,
                             .columns = s->depth,
                             .depth = images * c->plane,
                             .a_stride = s->rows,
                             .a_turned = 1,
                             .b_stride = s->depth,
                             .c = s->dweights,
                             .c_stride = s->depth,
                             .beta = group > 0,
                             .batch = 1 };
}

/* Whether there is a way for that product and the sums of D's columns, in all groups. */
static int sums_ride(const struct chain *c, int i)
{
    const struct chain_stage *s = &c->stage[i];
    const int64_t last = c->images - (c->groups - 1) * c->group;
    const int wanted = s->want_db || (s->kind == STAGE_SCATTER && s->look.edge);
    int rides = s->want_dw && wanted;
    for (int k = 0; k < 4; k++) {
        struct product p = dw_product(c, i, k & 1 ? last : c->group, k / 2);
        p.rides = RIDE_A_SUMS;
        rides = rides && product_rides(c->engine, &p);
    }
    return rides;
}

static void carve_gradients(struct chain *c, struct carve *room)
{
    const size_t size = dtype_size(c->dtype);
    for (int i = 0; i < c->n; i++) {
        struct chain_stage *s = &c->stage[i];
        s->sums_ride = sums_ride(c, i);
        s->dbias_size = s->sums_ride ? s->rows : s->out;
        if (s->want_dw) s->dweights = carve(room, s->rows * s->depth, size);
        if (s->want_db || s->sums_ride) s->dbias = carve(room, c->groups * s->dbias_size, size);
        if (s->sums_ride) continue;
        if (s->want_db) s->sums = carve(room, channel_sums_room(s->out), sizeof(double));
        if (s->want_dw && s->kind == STAGE_SCATTER && s->look.edge)
            s->dedge = carve(room, c->groups * s->out * s->look.taps, size);
    }
}

static void carve_backward(struct chain_backward *b, struct carve *room, struct backward_work *w)
{
    const struct chain *c = b->chain;
    const int64_t pixels = c->group * c->plane;
    const struct chain_stage *last = &c->stage[c->n - 1];
    int64_t hidden = 0, windows = 0, wide = 0;
    w->computes_again = last->act != GLOW_ACT_NONE;
    for (int i = 0; i < c->n; i++) {
        const struct chain_stage *s = &c->stage[i];
        const struct product dx = chain_dx_product(c, i, c->group);
        if (i < c->n - 1) {
            w->computes_again |= !b->kept[i];
            hidden = max_int(hidden, s->pitch);
        }
        if (s->kind == STAGE_SCATTER || i == c->n - 1) windows = max_int(windows, s->rows);
        if ((i > 0 && s->kind == STAGE_GATHER) || (i == 0 && b->dx.data))
            wide = max_int(wide, dx.columns);
    }
    chain_carve_forward(c, room, b->kept, &w->again);
    if (last->act != GLOW_ACT_NONE) {
        w->result = carve(room, pixels * last->out, dtype_size(c->dtype));
        w->d_result = carve(room, pixels * last->out, dtype_size(c->dtype));
    }
    w->d[0] = carve(room, pixels * hidden, real_size(c->inner));
    w->d[1] = carve(room, pixels * hidden, real_size(c->inner));
    w->d_windows = carve(room, pixels * windows, real_size(c->inner));
    w->d_wide = carve(room, pixels * wide, dtype_size(c->dtype));
}

/* ---------------------------------------------------------------- one stage, one group */

static void *at(void *p, int64_t element, int32_t dtype)
{
    return (char *)p + element * (int64_t)dtype_size(dtype);
}

/* Gradients of weights, bias and edge; d: dz as an operand. */
static void add_gradients(struct chain *c, int i, int64_t group, int64_t images,
                          const struct planes *x, const struct planes *dz, const void *d,
                          const struct backward_work *w, const struct step *step, struct run *run)
{
    const struct chain_stage *s = &c->stage[i];
    void *dbias = s->dbias ? at(s->dbias, group * s->dbias_size, c->dtype) : NULL;
    if (s->want_db && !s->sums_ride)
        channel_sums(run, dz->dtype, dz->data, (const int64_t[3]){ images, s->out, c->plane },
                     (const int64_t[3]){ dz->batch, dz->channel, dz->pixel }, dbias, s->sums);
    if (s->dedge)
        chain_edge_sums(run, c, images, dz, s->out, &s->look,
                        at(s->dedge, group * s->out * s->look.taps, c->dtype));
    if (!s->want_dw) return;
    struct product p = dw_product(c, i, images, group);
    p.a = d;
    p.b = chain_operand(c, i, images, x, w->again.windows, run);
    p.rides = s->sums_ride ? RIDE_A_SUMS : 0;
    p.sums = dbias;
    product_run(&p, step, run);
}

/* The gradient of stage i's operand, into `dx`. mask: that of the ReLU before, whose derivative
 * then rides along; NULL: not. */
static void pull_back(struct chain *c, int i, int64_t images, const void *d, const void *mask,
                      const struct planes *dx, const struct backward_work *w,
                      const struct step *step, struct run *run)
{
    static const struct window point = { 1, 1, 1, 0 };
    const struct chain_stage *s = &c->stage[i];
    const int direct = i > 0 && s->kind != STAGE_GATHER;
    struct product p = chain_dx_product(c, i, images);
    p.a = d;
    p.c = direct ? dx->data : w->d_wide;
    if (mask) {
        p.rides = RIDE_RELU_VJP;
        p.mask = (void *)(uintptr_t)mask;
        p.mask_stride = (c->stage[i - 1].pitch + MASK_BITS - 1) / MASK_BITS * MASK_BITS;
    }
    product_run(&p, step, run);
    if (direct) return;
    struct chain_sums sums = { .from = p.c,
                               .stride = p.columns,
                               .channels = s->in,
                               .look = s->kind == STAGE_GATHER ? s->look : point,
                               .direction = -1,
                               .act = GLOW_ACT_NONE,
                               .to = *dx };
    chain_shift_sums(run, c, images, &sums);
}

/* dz as the left operand of products, (p, rows). */
static const void *operand_of(struct chain *c, int i, int64_t images, const struct planes *dz,
                              const struct backward_work *w, struct run *run)
{
    static const struct window point = { 1, 1, 1, 0 };
    const struct chain_stage *s = &c->stage[i];
    const int scatter = s->kind == STAGE_SCATTER;
    if (!scatter && i < c->n - 1) return dz->data;
    chain_windows(run, c, images, dz, s->out, scatter ? &s->look : &point, -1, w->d_windows,
                  s->rows);
    return w->d_windows;
}

/* ---------------------------------------------------------------- all stages of a group */

/* Through the last activation. */
static struct planes pull_result(struct chain_backward *b, int64_t images, struct planes dz,
                                 const struct backward_work *w, struct run *run)
{
    struct chain *c = b->chain;
    const struct chain_stage *last = &c->stage[c->n - 1];
    if (last->act == GLOW_ACT_NONE) return dz;
    const struct planes y = dense_planes(c, w->result, last->out);
    const struct planes to = dense_planes(c, w->d_result, last->out);
    chain_last_vjp(run, c, images, last->out, &dz, &y, last->act, &to);
    return to;
}

static void compute_again(struct chain_backward *b, int64_t group, const struct backward_work *w,
                          const struct step *step, struct run *run)
{
    struct chain *c = b->chain;
    const struct chain_stage *last = &c->stage[c->n - 1];
    const int end = last->act != GLOW_ACT_NONE ? c->n : c->n - 1;
    struct planes y = dense_planes(c, w->result, last->out);
    y = planes_at(y, -group * c->group); /* it holds one group; images count from the first */
    chain_run_group(c, end, group, b->x, &y, b->kept, &w->again, step, run);
}

static void pull_group(struct chain_backward *b, int64_t group, const struct backward_work *w,
                       const struct step *step, struct run *run)
{
    struct chain *c = b->chain;
    const int64_t first = group * c->group, images = min_int(c->group, c->images - first);
    struct hidden h[CHAIN_STAGES];
    for (int i = 0; i < c->n - 1; i++)
        h[i] = b->kept[i] ? chain_kept(c, i, b->kept[i], first) : w->again.hidden[i];
    if (w->computes_again) compute_again(b, group, w, step, run);
    struct planes dz = pull_result(b, images, planes_at(b->dy, first), w, run);
    for (int i = c->n - 1; i >= 0; i--) {
        const int64_t pitch = i > 0 ? c->stage[i - 1].pitch : 0;
        const struct planes x = i > 0 ? pixels_of(c, h[i - 1].data, pitch) : planes_at(b->x, first);
        const struct planes dx = i > 0 ? pixels_of(c, w->d[i & 1], pitch) : planes_at(b->dx, first);
        const void *mask = i > 0 && chain_masks(c, i - 1, images) ? h[i - 1].mask : NULL;
        const void *d = operand_of(c, i, images, &dz, w, run);
        add_gradients(c, i, group, images, &x, &dz, d, w, step, run);
        if (!dx.data) break;
        pull_back(c, i, images, d, mask, &dx, w, step, run);
        if (i > 0 && !mask)
            chain_act_vjp(run, c, images * c->plane * pitch, dx.data, x.data, c->stage[i - 1].act);
        dz = dx;
    }
}

/* ---------------------------------------------------------------- the operation */

void chain_run_backward(struct chain_backward *b, struct carve *room, const struct step *step,
                        struct run *run)
{
    struct chain *c = b->chain;
    struct backward_work w = { 0 };
    chain_carve_weights(c, room);
    carve_gradients(c, room);
    carve_backward(b, room, &w);
    if (!run) {
        chain_look_up(c);
        return;
    }
    chain_fold(run, c);
    for (int64_t g = 0; g < c->groups; g++) pull_group(b, g, &w, step, run);
    chain_unfold(run, c, b->out);
}

static void backward(const struct engine *e, const struct step *step, struct carve *room,
                     struct run *run)
{
    struct chain c;
    struct chain_backward b = { .chain = &c, .out = step->out + 1 };
    const struct tensor *dy = &step->in[1 + 3 * step->ai[0]];
    chain_of_step(&c, e, step);
    b.x = planes_of(&step->in[0]);
    b.dy = planes_of(dy);
    if (step->out[0].data) b.dx = planes_of(&step->out[0]);
    for (int i = 0; i < c.n; i++) {
        struct chain_stage *s = &c.stage[i];
        const struct tensor *out = &step->out[1 + 3 * i];
        const int want_dlogs = out[2].data && s->logs;
        s->want_dw = out[0].data || want_dlogs;
        s->want_db = out[1].data || (want_dlogs && s->b);
        if (i < c.n - 1) b.kept[i] = dy[1 + i].data;
    }
    chain_run_backward(&b, room, step, run);
}

size_t cuda_scratch_CHAIN_VJP(const struct engine *e, const struct step *step)
{
    struct carve room = { NULL, 0 };
    backward(e, step, &room, NULL);
    return room.used;
}

void cuda_kernel_CHAIN_VJP(const struct step *step, struct run *run)
{
    struct carve room = { step->scratch, 0 };
    backward(run->engine, step, &room, run);
}
