/* chain.c - conv_chain forward and backward: which products, in which order, in which room. The
 * same walk counts the scratch (run NULL) and does the work. */
#include "chain.h"

static int64_t max_int(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t min_int(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---------------------------------------------------------------- shapes */

void chain_begin(struct chain *c, const struct tensor *x)
{
    *c = (struct chain){ .dtype = x->dtype, .images = x->dim[0], .height = 1, .width = 1 };
    if (x->rank > 2) c->height = x->dim[2];
    for (int i = 3; i < x->rank; i++) c->width *= x->dim[i];
    c->plane = c->height * c->width;
}

struct chain_stage *chain_add(struct chain *c, const struct tensor *w, int64_t out, int64_t kh,
                              int64_t kw, int edge)
{
    struct chain_stage *s = &c->stage[c->n++];
    const int64_t taps = kh * kw;
    *s = (struct chain_stage){ .w = w, .out = out, .logscale = 1 };
    s->in = w->dim[2] - edge;
    s->w_stride = w->stride[1];
    /* On a single pixel of padding 0 nothing lies outside: the edge channel is 0. */
    s->look = (struct window){ (int32_t)kh, (int32_t)kw, (int32_t)taps, edge && taps > 1 };
    s->kind = taps == 1 ? STAGE_POINT : s->in <= out ? STAGE_GATHER : STAGE_SCATTER;
    s->rows = s->kind == STAGE_SCATTER ? out * taps : out;
    s->depth = s->kind == STAGE_SCATTER ? s->in : (s->in + s->look.edge) * taps;
    return s;
}

void chain_end(struct chain *c)
{
    c->group = max_int(1, min_int(c->images, GROUP_PIXELS / c->plane));
    c->groups = (c->images + c->group - 1) / c->group;
}

static void chain_of_step(struct chain *c, const struct step *step)
{
    chain_begin(c, &step->in[0]);
    for (int64_t i = 0; i < step->ai[0]; i++) {
        const struct tensor *w = &step->in[1 + 3 * i], *b = w + 1, *logs = w + 2;
        const int64_t k = step->ai[1 + 3 * i];
        struct chain_stage *s = chain_add(c, w, w->dim[1], k, k, step->ai[2 + 3 * i] != 0);
        s->b = b->data ? b : NULL;
        s->logs = logs->data ? logs : NULL;
        s->act = (int32_t)step->ai[3 + 3 * i];
        s->logscale = step->ad[i];
    }
    chain_end(c);
}

static size_t size_of(const struct chain *c) { return dtype_size(c->dtype); }

static void *at(const struct chain *c, void *p, int64_t element)
{
    return p ? (char *)p + element * (int64_t)size_of(c) : NULL;
}
static struct planes planes_at(const struct chain *c, struct planes p, int64_t image)
{
    p.data = at(c, p.data, image * p.batch);
    return p;
}
/* A matrix (pixel, channel) seen as images. */
static struct planes pixels_of(const struct chain *c, const void *data, int64_t channels)
{
    return (struct planes){ (void *)(uintptr_t)data, c->plane * channels, 1, channels };
}
static struct planes dense_planes(const struct chain *c, void *data, int64_t channels)
{
    return (struct planes){ data, c->plane * channels, c->plane, 1 };
}

int64_t cuda_chain_hidden(const struct step *step, int i)
{
    struct chain c;
    chain_begin(&c, &step->in[0]);
    return c.images * c.plane * step->in[1 + 3 * i].dim[1];
}

/* ---------------------------------------------------------------- weights */

static void carve_weights(struct chain *c, struct carve *room)
{
    for (int i = 0; i < c->n; i++) {
        struct chain_stage *s = &c->stage[i];
        const int plain = !s->logs && s->kind != STAGE_SCATTER && s->w_stride == s->depth;
        s->weights = plain ? s->w->data : carve(room, s->rows * s->depth, size_of(c));
        s->bias = !s->b ? NULL : !s->logs ? s->b->data : carve(room, s->out, size_of(c));
        s->edge = s->kind == STAGE_SCATTER && s->look.edge
                      ? carve(room, s->out * s->look.taps, size_of(c))
                      : NULL;
    }
}

static void fold_weights(struct chain *c, struct run *run)
{
    for (int i = 0; i < c->n; i++) chain_fold(run, c->dtype, &c->stage[i]);
}

/* ---------------------------------------------------------------- forward */

/* Room of one group. */
struct forward_work {
    void *windows, *wide; /* (p, depth) of GATHER, (p, (out,tap)) of SCATTER */
    void *hidden[CHAIN_STAGES];
};

static void carve_forward(const struct chain *c, struct carve *room, void *const *kept,
                          struct forward_work *w)
{
    const int64_t pixels = c->group * c->plane;
    int64_t windows = 0, wide = 0;
    for (int i = 0; i < c->n; i++) {
        const struct chain_stage *s = &c->stage[i];
        if (s->kind == STAGE_GATHER || i == 0) windows = max_int(windows, s->depth);
        if (s->kind == STAGE_SCATTER || i == c->n - 1) wide = max_int(wide, s->rows);
        if (i < c->n - 1 && !kept[i]) w->hidden[i] = carve(room, pixels * s->out, size_of(c));
    }
    w->windows = carve(room, pixels * windows, size_of(c));
    w->wide = carve(room, pixels * wide, size_of(c));
}

/* The left operand of a stage's product: X itself or its windows. */
static const void *operand_of(struct chain *c, int i, int64_t images, const struct planes *x,
                              void *windows, struct run *run)
{
    const struct chain_stage *s = &c->stage[i];
    const struct window point = { 1, 1, 1, 0 };
    const int is_matrix = x->channel == 1 && x->pixel == s->in && x->batch == c->plane * s->in;
    if (s->kind != STAGE_GATHER && is_matrix) return x->data;
    chain_windows(run, c, images, x, s->in, s->kind == STAGE_GATHER ? &s->look : &point, 1,
                  windows);
    return windows;
}

/* One stage on a group of images: y = act(conv(x)). y is a matrix where it is hidden. */
static void run_stage(struct chain *c, int i, int64_t images, const struct planes *x,
                      const struct planes *y, int hidden, const struct forward_work *w,
                      const struct step *step, struct run *run)
{
    const struct chain_stage *s = &c->stage[i];
    const int direct = hidden && s->kind != STAGE_SCATTER; /* the product is the result */
    const int fused = direct && s->bias && c->dtype == DT_F32 && s->act <= GLOW_ACT_RELU;
    const int64_t pixels = images * c->plane;
    struct product p = { .dtype = c->dtype,
                         .rows = pixels,
                         .columns = s->rows,
                         .depth = s->depth,
                         .b = s->weights,
                         .b_stride = s->depth,
                         .b_turned = 1,
                         .a_stride = s->depth,
                         .c = direct ? y->data : w->wide,
                         .c_stride = s->rows,
                         .batch = 1,
                         .bias = fused ? s->bias : NULL,
                         .relu = s->act == GLOW_ACT_RELU };
    p.a = operand_of(c, i, images, x, w->windows, run);
    product_run(&p, step, run);
    if (direct) {
        if (!fused) chain_bias_act(run, c->dtype, y->data, pixels, s->out, s->bias, s->act);
        return;
    }
    const struct window point = { 1, 1, 1, 0 };
    struct chain_sums sums = { .from = w->wide,
                               .stride = s->rows,
                               .channels = s->out,
                               .look = s->kind == STAGE_SCATTER ? s->look : point,
                               .direction = 1,
                               .bias = s->bias,
                               .edge = s->edge,
                               .act = s->act,
                               .to = *y };
    chain_shift_sums(run, c, images, &sums);
}

/* Stages [0, end) of the images of a group; hidden activations where `kept` or the work has them.
 */
static void run_group(struct chain *c, int end, int64_t group, struct planes x,
                      const struct planes *y, void *const *kept, const struct forward_work *w,
                      const struct step *step, struct run *run)
{
    const int64_t first = group * c->group, images = min_int(c->group, c->images - first);
    x = planes_at(c, x, first);
    for (int i = 0; i < end; i++) {
        const int64_t width = c->stage[i].out;
        const int hidden = i < c->n - 1;
        struct planes to =
            hidden ? pixels_of(c, kept[i] ? at(c, kept[i], first * c->plane * width) : w->hidden[i],
                               width)
                   : planes_at(c, *y, first);
        run_stage(c, i, images, &x, &to, hidden, w, step, run);
        x = to;
    }
}

void chain_run_forward(struct chain_forward *f, struct carve *room, const struct step *step,
                       struct run *run)
{
    struct chain *c = f->chain;
    struct forward_work w = { 0 };
    carve_weights(c, room);
    carve_forward(c, room, f->hidden, &w);
    if (!run) return;
    fold_weights(c, run);
    for (int64_t g = 0; g < c->groups; g++)
        run_group(c, c->n, g, f->x, &f->y, f->hidden, &w, step, run);
}

static void forward(const struct step *step, struct carve *room, struct run *run)
{
    struct chain c;
    struct chain_forward f = { .chain = &c };
    chain_of_step(&c, step);
    f.x = planes_of(&step->in[0]);
    f.y = planes_of(&step->out[0]);
    for (int i = 0; i < c.n - 1; i++) f.hidden[i] = step->out[1 + i].data;
    chain_run_forward(&f, room, step, run);
}

size_t cuda_scratch_CHAIN(const struct engine *e, const struct step *step)
{
    struct carve room = { NULL, 0 };
    (void)e;
    forward(step, &room, NULL);
    return room.used;
}

void cuda_kernel_CHAIN(const struct step *step, struct run *run)
{
    struct carve room = { step->scratch, 0 };
    forward(step, &room, run);
}

/* ---------------------------------------------------------------- backward */

struct backward_work {
    struct forward_work again;
    void *result;    /* planes of y, where the last activation needs it */
    void *d_result;  /* planes: its gradient before the activation */
    void *d[2];      /* (p, channel) */
    void *d_windows; /* (p, (out,tap)) of SCATTER, (p, (in,tap)) of GATHER */
    int computes_again;
};

static void carve_gradients(struct chain *c, struct carve *room)
{
    for (int i = 0; i < c->n; i++) {
        struct chain_stage *s = &c->stage[i];
        if (s->want_dw) s->dweights = carve(room, s->rows * s->depth, size_of(c));
        if (s->want_db) {
            s->dbias = carve(room, c->groups * s->out, size_of(c));
            s->sums = carve(room, channel_sums_room(s->out), sizeof(double));
        }
        if (s->want_dw && s->kind == STAGE_SCATTER && s->look.edge)
            s->dedge = carve(room, c->groups * s->out * s->look.taps, size_of(c));
    }
}

static void carve_backward(struct chain_backward *b, struct carve *room, struct backward_work *w)
{
    const struct chain *c = b->chain;
    const int64_t pixels = c->group * c->plane;
    const struct chain_stage *last = &c->stage[c->n - 1];
    int64_t width = last->out, windows = 0;
    w->computes_again = last->act != GLOW_ACT_NONE;
    for (int i = 0; i < c->n; i++) {
        const struct chain_stage *s = &c->stage[i];
        const int pulls = i > 0 || b->dx.data;
        if (i < c->n - 1) w->computes_again |= !b->hidden[i];
        width = max_int(width, i > 0 ? max_int(s->in, s->out) : s->out);
        if (s->kind == STAGE_SCATTER) windows = max_int(windows, s->out * s->look.taps);
        if (pulls && s->kind != STAGE_SCATTER) windows = max_int(windows, s->in * s->look.taps);
        if (pulls) width = max_int(width, s->in);
    }
    carve_forward(c, room, (void *const *)b->hidden, &w->again);
    if (last->act != GLOW_ACT_NONE) {
        w->result = carve(room, pixels * last->out, size_of(c));
        w->d_result = carve(room, pixels * last->out, size_of(c));
    }
    w->d[0] = carve(room, pixels * width, size_of(c));
    w->d[1] = carve(room, pixels * width, size_of(c));
    w->d_windows = carve(room, pixels * windows, size_of(c));
}

/* The gradient of a stage's weights: dw += D^T operand. */
static void add_dw(struct chain *c, const struct chain_stage *s, int64_t pixels, const void *d,
                   const void *operand, int64_t group, const struct step *step, struct run *run)
{
    struct product p = { .dtype = c->dtype,
                         .rows = s->rows,
                         .columns = s->depth,
                         .depth = pixels,
                         .a = d,
                         .a_stride = s->rows,
                         .a_turned = 1,
                         .b = operand,
                         .b_stride = s->depth,
                         .c = s->dweights,
                         .c_stride = s->depth,
                         .beta = group > 0,
                         .batch = 1 };
    product_run(&p, step, run);
}

/* One stage on a group: from the gradient of its result before the activation, dz, those of its
 * weights and, in `dx` (NULL data: unwanted), of its operand x. */
static void pull_stage(struct chain *c, int i, int64_t group, int64_t images,
                       const struct planes *x, const struct planes *dz, const struct planes *dx,
                       const struct backward_work *w, const struct step *step, struct run *run)
{
    const struct chain_stage *s = &c->stage[i];
    const struct window point = { 1, 1, 1, 0 };
    const int scatter = s->kind == STAGE_SCATTER;
    const int is_matrix = dz->channel == 1 && dz->pixel == s->out && dz->batch == c->plane * s->out;
    const int64_t pixels = images * c->plane;
    const void *d = dz->data; /* (p, rows) */
    if (scatter || !is_matrix) {
        void *to = scatter ? w->d_windows : w->d[0];
        chain_windows(run, c, images, dz, s->out, scatter ? &s->look : &point, -1, to);
        d = to;
    }
    if (s->want_db)
        channel_sums(run, c->dtype, dz->data, (const int64_t[3]){ images, s->out, c->plane },
                     (const int64_t[3]){ dz->batch, dz->channel, dz->pixel },
                     at(c, s->dbias, group * s->out), s->sums);
    if (s->dedge)
        chain_edge_sums(run, c, images, dz, s->out, &s->look,
                        at(c, s->dedge, group * s->out * s->look.taps));
    if (s->want_dw)
        add_dw(c, s, pixels, d, operand_of(c, i, images, x, w->again.windows, run), group, step,
               run);
    if (!dx->data) return;
    const int direct = s->kind != STAGE_GATHER && dx->channel == 1; /* dx is a matrix, too */
    struct product p = { .dtype = c->dtype,
                         .rows = pixels,
                         .columns = scatter ? s->in : s->in * s->look.taps,
                         .depth = s->rows,
                         .a = d,
                         .a_stride = s->rows,
                         .b = s->weights,
                         .b_stride = s->depth,
                         .batch = 1 };
    p.c = direct ? dx->data : scatter ? w->d[1] : w->d_windows;
    p.c_stride = p.columns;
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

static void pull_group(struct chain_backward *b, int64_t group, const struct backward_work *w,
                       const struct step *step, struct run *run)
{
    struct chain *c = b->chain;
    const int64_t first = group * c->group, images = min_int(c->group, c->images - first);
    const struct chain_stage *last = &c->stage[c->n - 1];
    struct planes dz = planes_at(c, b->dy, first), x[CHAIN_STAGES];

    if (w->computes_again) {
        struct planes y = dense_planes(c, w->result, last->out);
        y.data = at(c, y.data, -first * y.batch); /* run_group counts from the first image */
        run_group(c, last->act != GLOW_ACT_NONE ? c->n : c->n - 1, group, b->x, &y,
                  (void *const *)b->hidden, &w->again, step, run);
    }
    x[0] = planes_at(c, b->x, first);
    for (int i = 1; i < c->n; i++) {
        const int64_t width = c->stage[i].in;
        const void *kept = b->hidden[i - 1];
        x[i] = pixels_of(c,
                         kept ? at(c, (void *)(uintptr_t)kept, first * c->plane * width)
                              : w->again.hidden[i - 1],
                         width);
    }
    if (last->act != GLOW_ACT_NONE) {
        const struct planes y = dense_planes(c, w->result, last->out);
        const struct planes to = dense_planes(c, w->d_result, last->out);
        chain_act_vjp(run, c, images, last->out, &dz, &y, last->act, &to);
        dz = to;
    }
    for (int i = c->n - 1; i >= 0; i--) {
        const struct planes nothing = { 0 };
        /* dz of stage i lies in d[0] if its planes had to be turned, else in d[1] or d[0]. */
        void *free_room = dz.data == w->d[1] ? w->d[0] : w->d[1];
        struct planes dx = i > 0        ? pixels_of(c, free_room, c->stage[i].in)
                           : b->dx.data ? planes_at(c, b->dx, first)
                                        : nothing;
        pull_stage(c, i, group, images, &x[i], &dz, &dx, w, step, run);
        if (i == 0) break;
        chain_act_vjp(run, c, images, c->stage[i].in, &dx, &x[i], c->stage[i - 1].act, &dx);
        dz = dx;
    }
}

void chain_run_backward(struct chain_backward *b, struct carve *room, const struct step *step,
                        struct run *run)
{
    struct chain *c = b->chain;
    struct backward_work w = { 0 };
    carve_weights(c, room);
    carve_gradients(c, room);
    carve_backward(b, room, &w);
    if (!run) return;
    fold_weights(c, run);
    for (int64_t g = 0; g < c->groups; g++) pull_group(b, g, &w, step, run);
    for (int i = 0; i < c->n; i++)
        chain_unfold(run, c, &c->stage[i], b->out[3 * i].data, b->out[3 * i + 1].data,
                     b->out[3 * i + 2].data);
}

static void backward(const struct step *step, struct carve *room, struct run *run)
{
    struct chain c;
    struct chain_backward b = { .chain = &c, .out = step->out + 1 };
    const struct tensor *dy = &step->in[1 + 3 * step->ai[0]];
    chain_of_step(&c, step);
    b.x = planes_of(&step->in[0]);
    b.dy = planes_of(dy);
    if (step->out[0].data) b.dx = planes_of(&step->out[0]);
    for (int i = 0; i < c.n; i++) {
        struct chain_stage *s = &c.stage[i];
        const struct tensor *out = &step->out[1 + 3 * i];
        const int want_dlogs = out[2].data && s->logs;
        s->want_dw = out[0].data || want_dlogs;
        s->want_db = out[1].data || (want_dlogs && s->b);
        if (i < c.n - 1) b.hidden[i] = dy[1 + i].data;
    }
    chain_run_backward(&b, room, step, run);
}

size_t cuda_scratch_CHAIN_VJP(const struct engine *e, const struct step *step)
{
    struct carve room = { NULL, 0 };
    (void)e;
    backward(step, &room, NULL);
    return room.used;
}

void cuda_kernel_CHAIN_VJP(const struct step *step, struct run *run)
{
    struct carve room = { step->scratch, 0 };
    backward(step, &room, run);
}
