/* test_policy.c - what the backward pass keeps of each layer, on models that are nothing but
 * numbers: couplings that have so many bytes of input, activations, result and hidden activations.
 */
#include "policy.h"
#include <stdlib.h>
#include "rig.h"

enum { LAYERS = 12 };
static struct layer layers[LAYERS];
static struct layer_bytes bytes[LAYERS];
static struct layer_policy policy[LAYERS];

static struct model setup_couplings(struct layer_bytes each)
{
    for (int i = 0; i < LAYERS; i++) {
        layers[i] = (struct layer){ .coupling = true };
        bytes[i] = each;
    }
    return (struct model){ .layers = layers, .n_layers = LAYERS };
}

/* The most alive while the walk goes back, gradients left out. */
static int64_t most_alive(int lowest)
{
    int64_t held = 0, most = 0;
    for (int i = lowest; i < LAYERS; i++) {
        const struct layer_policy p = policy[i];
        int64_t now = p.memory == MEMORY_STORE ? 0 : bytes[i].all;
        if (p.memory != MEMORY_INVERT) held += bytes[i].input;
        if (p.memory == MEMORY_STORE) held += bytes[i].all;
        if (p.keeps_result) {
            held += bytes[i].result;
            now -= bytes[i].hidden;
        }
        if (held + now > most) most = held + now;
    }
    return most;
}

static void choose(const struct model *m, enum memory_policy memory, int64_t budget, int lowest)
{
    const struct program_options o = { .kind = PROGRAM_TRAIN,
                                       .memory = memory,
                                       .memory_budget = budget };
    for (int i = 0; i < LAYERS; i++) policy[i] = (struct layer_policy){ MEMORY_AUTO, true };
    policy_choose(m, &o, bytes, lowest, policy);
}

static int count_kept(int lowest)
{
    int n = 0;
    for (int i = lowest; i < LAYERS; i++) {
        n += policy[i].keeps_result;
        if (i > lowest && policy[i].memory == MEMORY_RECOMPUTE)
            ck_assert(policy[i].keeps_result || !policy[i - 1].keeps_result); /* from the top */
    }
    return n;
}

/* Results are kept as far as they find the room that hidden activations leave, and no farther. */
START_TEST(results_take_no_room)
{
    const struct model m = setup_couplings((struct layer_bytes){ 10, 110, 10, 80 });
    const int lowest = 2, n = LAYERS - lowest;
    choose(&m, MEMORY_RECOMPUTE, 1 << 20, lowest);
    ck_assert_int_eq(count_kept(lowest), 8); /* 8 results in the place of hidden activations */
    ck_assert_int_le(most_alive(lowest), n * 10 + 110);
    policy[LAYERS - 9].keeps_result = true;
    ck_assert_int_gt(most_alive(lowest), n * 10 + 110);
    for (int i = 0; i < LAYERS; i++) bytes[i].hidden = -5;
    choose(&m, MEMORY_RECOMPUTE, 0, lowest);
    ck_assert_int_eq(count_kept(lowest), 0);
    for (int i = 0; i < LAYERS; i++) bytes[i].hidden = 0; /* no convolution chain: not spared */
    choose(&m, MEMORY_AUTO, 90, lowest);
    ck_assert_int_eq(count_kept(lowest), 0);
}
END_TEST

/* Where lower layers are larger, the upper ones' results fit beside what those need later. */
START_TEST(small_layers_keep_theirs)
{
    const struct model m = setup_couplings((struct layer_bytes){ 10, 110, 10, 80 });
    for (int i = LAYERS / 2; i < LAYERS; i++) bytes[i] = (struct layer_bytes){ 1, 20, 1, -1 };
    bytes[0].all = 1000;
    choose(&m, MEMORY_RECOMPUTE, 0, 0);
    ck_assert_int_eq(count_kept(0), LAYERS);
    bytes[0].hidden = -1; /* the lowest alone would need more than now */
    choose(&m, MEMORY_RECOMPUTE, 0, 0);
    ck_assert_int_eq(count_kept(0), LAYERS - 1);
}
END_TEST

/* Activations first, from the top, then results for what the budget leaves. */
START_TEST(budgets)
{
    const struct model m = setup_couplings((struct layer_bytes){ 10, 110, 10, 1 });
    for (int64_t budget = 0; budget < 1500; budget += 7) {
        const int stored = budget / 110 < LAYERS ? (int)(budget / 110) : LAYERS;
        choose(&m, MEMORY_AUTO, budget, 0);
        for (int i = 0; i < LAYERS; i++)
            ck_assert_int_eq(policy[i].memory,
                             i < LAYERS - stored ? MEMORY_RECOMPUTE : MEMORY_STORE);
        const int left = (int)(budget - 110 * stored), most = LAYERS - stored;
        /* Where activations are stored, none are computed again at the same time. */
        const int room = (left + (stored ? 110 : 1)) / 10;
        ck_assert_int_eq(count_kept(0), room < most ? room : most);
    }
}
END_TEST

/* Nothing but couplings that are computed again. */
START_TEST(nothing_else_keeps)
{
    const struct model m = setup_couplings((struct layer_bytes){ 10, 110, 10, 80 });
    choose(&m, MEMORY_INVERT, 1000, 0);
    ck_assert_int_eq(count_kept(0), 0);
    for (int i = 0; i < LAYERS; i++) ck_assert_int_eq(policy[i].memory, MEMORY_INVERT);
    choose(&m, MEMORY_STORE, 0, 0);
    ck_assert_int_eq(count_kept(0), 0);
    for (int i = 0; i < LAYERS; i++) ck_assert_int_eq(policy[i].memory, MEMORY_STORE);
    layers[3].coupling = false;
    choose(&m, MEMORY_RECOMPUTE, 0, 0);
    ck_assert_int_eq(policy[3].memory, MEMORY_INVERT);
    ck_assert(!policy[3].keeps_result);
}
END_TEST

int main(void)
{
    TCase *tests = rig_case("policy");
    tcase_add_test(tests, results_take_no_room);
    tcase_add_test(tests, small_layers_keep_theirs);
    tcase_add_test(tests, budgets);
    tcase_add_test(tests, nothing_else_keeps);
    return rig_run(tests);
}
