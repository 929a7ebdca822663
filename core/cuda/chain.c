/* chain.c - conv_chain forward: which products, in which order, in which room. The same walk counts
 * the scratch (run NULL) and does the work. */
#include "chain.h"

static int64_t max_int(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t min_int(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* ---------------------------------------------------------------- shapes */

void chain_begin(struct chain *c, const struct engine *e, const struct tensor *x)
{
    *c = (struct chain){ .engine = e, .images = x->dim[0], .height = 1, .width = 1 };
    c->dtype = x->dtype;
    c->inner = e && e->bf16 && x->dtype == DT_F32 ? DT_BF16 : x->dtype;
    if (x->rank > 2) c->height = x->dim[2];
    for (int i = 3; i < x->rank; i++) c->width *= x->dim[i];
    c->plane = c->height * c->width;
}

/* Rows of matrices are multiples of 16 bytes. */
static int64_t padded(const struct chain *c, int64_t n)
{
    return round_up(n, 16 / (int64_t)real_size(c->inner));
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
    s->rows = padded(c, s->kind == STAGE_SCATTER ? out * taps : out);
    s->depth = padded(c, s->kind == STAGE_SCATTER ? s->in : (s->in + s->look.edge) * taps);
    s->pitch = padded(c, out);
    return s;
}

void chain_end(struct chain *c)
{
    c->group = max_int(1, min_int(c->images, GROUP_PIXELS / c->plane));
    c->groups = (c->images + c->group - 1) / c->group;
}

void chain_of_step(struct chain *c, const struct engine *e, const struct step *step)
{
    chain_begin(c, e, &step->in[0]);
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

/* ---------------------------------------------------------------- hidden activations */

/* Bits of a pixel's mask. */
static int64_t mask_stride(const struct chain_stage *s) { return round_up(s->pitch, MASK_BITS); }

static int may_mask(const struct chain *c, int i)
{
    return c->stage[i].act == GLOW_ACT_RELU && c->dtype == DT_F32;
}

/* Behind the activations of all pixels stand their masks. */
struct hidden chain_kept(const struct chain *c, int i, const void *buffer, int64_t first)
{
    const struct chain_stage *s = &c->stage[i];
    const int64_t row = s->pitch * (int64_t)real_size(c->inner), pixel = first * c->plane;
    char *at = (char *)(uintptr_t)buffer;
    struct hidden h = { at + pixel * row, NULL };
    if (may_mask(c, i)) h.mask = at + c->images * c->plane * row + pixel * mask_stride(s) / 8;
    return h;
}

static int64_t kept_elements(struct chain *c, const struct step *step, int i)
{
    const struct tensor *w = &step->in[1 + 3 * i];
    const struct chain_stage *s = chain_add(c, w, w->dim[1], 1, 1, 0);
    const int64_t size = (int64_t)real_size(c->inner), own = (int64_t)dtype_size(c->dtype);
    c->stage[0].act = (int32_t)step->ai[3 + 3 * i];
    return c->images * c->plane * (s->pitch * size + may_mask(c, 0) * mask_stride(s) / 8) / own;
}

int64_t cuda_chain_hidden(const struct step *step, int i)
{
    struct chain c;
    chain_begin(&c, NULL, &step->in[0]);
    return kept_elements(&c, step, i);
}

int64_t cuda_chain_hidden_bf16(const struct step *step, int i)
{
    const struct engine e = { .bf16 = 1 };
    struct chain c;
    chain_begin(&c, &e, &step->in[0]);
    return kept_elements(&c, step, i);
}

/* ---------------------------------------------------------------- products */

/* A hidden result that the product itself gives. */
static int is_direct(const struct chain *c, int i)
{
    return i < c->n - 1 && c->stage[i].kind != STAGE_SCATTER;
}

static struct product product_of(const struct chain *c, int i, int64_t images)
{
    const struct chain_stage *s = &c->stage[i];
    return (struct product){ .dtype = c->inner,
                             .result = is_direct(c, i) ? c->inner : c->dtype,
                             .fast = 1,
                             .rows = images * c->plane,
                             .columns = s->rows,
                             .depth = s->depth,
                             .a_stride = s->depth,
                             .b = s->weights,
                             .b_stride = s->depth,
                             .b_turned = 1,
                             .c_stride = s->rows,
                             .batch = 1 };
}

struct product chain_dx_product(const struct chain *c, int i, int64_t images)
{
    const struct chain_stage *s = &c->stage[i];
    const int gathers = s->kind == STAGE_GATHER;
    struct product p = { .dtype = c->inner,
                         .result = gathers || i == 0 ? c->dtype : c->inner,
                         .fast = 1,
                         .rows = images * c->plane,
                         .columns = gathers ? padded(c, s->in * s->look.taps) : s->depth,
                         .depth = s->rows,
                         .a_stride = s->rows,
                         .b = s->weights,
                         .b_stride = s->depth,
                         .batch = 1 };
    p.c_stride = p.columns;
    return p;
}

/* What rides along with stage i's product, as much as there is a way for. */
static int rides_of(const struct chain *c, int i, int64_t images, int masks)
{
    const struct chain_stage *s = &c->stage[i];
    struct product p = product_of(c, i, images);
    if (!is_direct(c, i) || s->act > GLOW_ACT_RELU) return 0;
    p.rides = (s->b ? RIDE_BIAS : 0) | (s->act == GLOW_ACT_RELU ? RIDE_RELU : 0);
    if (masks) {
        p.rides |= RIDE_MASK;
        p.mask_stride = mask_stride(s);
        return p.rides;
    }
    return p.rides && product_rides(c->engine, &p) ? p.rides : 0;
}

int chain_masks(const struct chain *c, int i, int64_t images)
{
    if (!is_direct(c, i) || !may_mask(c, i) || c->stage[i + 1].kind == STAGE_GATHER) return 0;
    struct product p = product_of(c, i, images), dx = chain_dx_product(c, i + 1, images);
    p.rides = rides_of(c, i, images, 1);
    dx.rides = RIDE_RELU_VJP;
    p.mask_stride = dx.mask_stride = mask_stride(&c->stage[i]);
    return product_rides(c->engine, &p) && product_rides(c->engine, &dx);
}

void chain_look_up(const struct chain *c)
{
    const int64_t last = c->images - (c->groups - 1) * c->group;
    for (int i = 0; i < c->n - 1; i++)
        for (int k = 0; k < 2; k++) {
            rides_of(c, i, k ? last : c->group, 0);
            chain_masks(c, i, k ? last : c->group);
        }
}

/* ---------------------------------------------------------------- room */

void chain_carve_weights(struct chain *c, struct carve *room)
{
    for (int i = 0; i < c->n; i++) {
        struct chain_stage *s = &c->stage[i];
        s->weights = carve(room, s->rows * s->depth, real_size(c->inner));
        s->bias = s->b ? carve(room, s->pitch, dtype_size(c->dtype)) : NULL;
        s->inner_bias = s->b ? carve(room, s->pitch, real_size(c->inner)) : NULL;
        s->edge = s->kind == STAGE_SCATTER && s->look.edge
                      ? carve(room, s->out * s->look.taps, dtype_size(c->dtype))
                      : NULL;
    }
}

void chain_carve_forward(const struct chain *c, struct carve *room, const void *const *kept,
                         struct forward_work *w)
{
    const int64_t pixels = c->group * c->plane;
    int64_t windows = 0, wide = 0;
    for (int i = 0; i < c->n; i++) {
        const struct chain_stage *s = &c->stage[i];
        if (s->kind == STAGE_GATHER || i == 0) windows = max_int(windows, s->depth);
        if (!is_direct(c, i)) wide = max_int(wide, s->rows);
        if (i == c->n - 1 || kept[i]) continue;
        w->hidden[i].data = carve(room, pixels * s->pitch, real_size(c->inner));
        if (may_mask(c, i)) w->hidden[i].mask = carve(room, pixels * mask_stride(s) / 8, 1);
    }
    w->windows = carve(room, pixels * windows, real_size(c->inner));
    w->wide = carve(room, pixels * wide, dtype_size(c->dtype));
}

/* ---------------------------------------------------------------- forward */

static const struct window point = { 1, 1, 1, 0 };

const void *chain_operand(struct chain *c, int i, int64_t images, const struct planes *x,
                          void *windows, struct run *run)
{
    const struct chain_stage *s = &c->stage[i];
    const int gathers = s->kind == STAGE_GATHER;
    if (!gathers && i > 0) return x->data;
    chain_windows(run, c, images, x, s->in, gathers ? &s->look : &point, 1, windows, s->depth);
    return windows;
}

/* A hidden stage whose result the product gives. */
static void run_direct(struct chain *c, int i, int64_t images, struct product *p,
                       const struct hidden *to, const struct step *step, struct run *run)
{
    const struct chain_stage *s = &c->stage[i];
    const int masks = to->mask && chain_masks(c, i, images);
    p->rides = rides_of(c, i, images, masks);
    p->c = to->data;
    p->bias = s->inner_bias;
    if (masks) {
        p->mask = to->mask;
        p->mask_stride = mask_stride(s);
    }
    product_run(p, step, run);
    if (!p->rides) chain_bias_act(run, c, p->c, p->rows, s->pitch, s->inner_bias, s->act);
}

/* One stage on a group of images: y = act(conv(x)), planes y or hidden activations. */
static void run_stage(struct chain *c, int i, int64_t images, const struct planes *x,
                      const struct planes *y, const struct hidden *hidden,
                      const struct forward_work *w, const struct step *step, struct run *run)
{
    const struct chain_stage *s = &c->stage[i];
    struct product p = product_of(c, i, images);
    p.a = chain_operand(c, i, images, x, w->windows, run);
    if (is_direct(c, i)) {
        run_direct(c, i, images, &p, hidden, step, run);
        return;
    }
    p.c = w->wide;
    product_run(&p, step, run);
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

void chain_run_group(struct chain *c, int end, int64_t group, struct planes x,
                     const struct planes *y, const void *const *kept, const struct forward_work *w,
                     const struct step *step, struct run *run)
{
    const int64_t first = group * c->group, images = min_int(c->group, c->images - first);
    x = planes_at(x, first);
    for (int i = 0; i < end; i++) {
        const struct hidden h = i == c->n - 1 ? (struct hidden){ 0 }
                                : kept[i]     ? chain_kept(c, i, kept[i], first)
                                              : w->hidden[i];
        const struct planes to =
            i < c->n - 1 ? pixels_of(c, h.data, c->stage[i].pitch) : planes_at(*y, first);
        run_stage(c, i, images, &x, &to, &h, w, step, run);
        x = to;
    }
}

void chain_run_forward(struct chain_forward *f, struct carve *room, const struct step *step,
                       struct run *run)
{
    struct chain *c = f->chain;
    struct forward_work w = { 0 };
    chain_carve_weights(c, room);
    chain_carve_forward(c, room, f->kept, &w);
    if (!run) {
        chain_look_up(c);
        return;
    }
    chain_fold(run, c);
    for (int64_t g = 0; g < c->groups; g++)
        chain_run_group(c, c->n, g, f->x, &f->y, f->kept, &w, step, run);
}

static void forward(const struct engine *e, const struct step *step, struct carve *room,
                    struct run *run)
{
    struct chain c;
    struct chain_forward f = { .chain = &c };
    chain_of_step(&c, e, step);
    f.x = planes_of(&step->in[0]);
    f.y = planes_of(&step->out[0]);
    for (int i = 0; i < c.n - 1; i++) f.kept[i] = step->out[1 + i].data;
    chain_run_forward(&f, room, step, run);
}

size_t cuda_scratch_CHAIN(const struct engine *e, const struct step *step)
{
    struct carve room = { NULL, 0 };
    forward(e, step, &room, NULL);
    return room.used;
}

void cuda_kernel_CHAIN(const struct step *step, struct run *run)
{
    struct carve room = { step->scratch, 0 };
    forward(run->engine, step, &room, run);
}
