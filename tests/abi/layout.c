/* layout.c - the frozen layout of version 1 on 64-bit machines (LP64): sizes, offsets, the order of
 * table members, enumerators. header.sh compiles it against today's header and each frozen copy. No
 * line here ever changes, but that the size of a struct which grows at its tail is raised, by
 * minor; members and codes that come are appended, under the minor that brought them. */
#ifndef HEADER
#define HEADER "glow/plugin.h"
#endif
#include HEADER

#define SIZE(type, size) _Static_assert(sizeof(type) == size, "size of " #type)
#define MEMBER(type, member, offset, size)                                                         \
    _Static_assert(offsetof(type, member) == offset && sizeof(((type *)0)->member) == size,        \
                   #type "." #member)
#define VALUE(name, value) _Static_assert(name == value, #name)

VALUE(GLOW_MAX_RANK, 8);
_Static_assert(sizeof GLOW_PLUGIN_SYMBOL == 15, "the symbol is glow_plugin_v1");

#if UINTPTR_MAX == UINT64_MAX
/* clang-format off */

SIZE(glow_value, 8);
MEMBER(glow_value, id, 0, 8);

SIZE(struct glow_type, 80);
MEMBER(struct glow_type, dtype, 0, 4);
MEMBER(struct glow_type, batched, 4, 4);
MEMBER(struct glow_type, rank, 8, 4);
MEMBER(struct glow_type, reserved, 12, 4);
MEMBER(struct glow_type, dim, 16, 64);

SIZE(struct glow_option, 88);
MEMBER(struct glow_option, key, 0, 8);
MEMBER(struct glow_option, help, 8, 8);
MEMBER(struct glow_option, unit, 16, 8);
MEMBER(struct glow_option, dflt, 24, 8);
MEMBER(struct glow_option, legacy, 32, 8);
MEMBER(struct glow_option, range, 40, 8);
MEMBER(struct glow_option, aliases, 48, 8);
MEMBER(struct glow_option, deprecated, 56, 8);
MEMBER(struct glow_option, type, 64, 4);
MEMBER(struct glow_option, since, 68, 4);
MEMBER(struct glow_option, slot_kind, 72, 4);
MEMBER(struct glow_option, reserved, 76, 4);
MEMBER(struct glow_option, slot_needs, 80, 8);

SIZE(struct glow_param, 136);
MEMBER(struct glow_param, size, 0, 4);
MEMBER(struct glow_param, flags, 4, 4);
MEMBER(struct glow_param, init, 8, 4);
MEMBER(struct glow_param, reserved, 12, 4);
MEMBER(struct glow_param, name, 16, 8);
MEMBER(struct glow_param, group, 24, 8);
MEMBER(struct glow_param, type, 32, 80);
MEMBER(struct glow_param, a, 112, 8);
MEMBER(struct glow_param, b, 120, 8);
MEMBER(struct glow_param, fill, 128, 8);

SIZE(struct glow_stage, 48);
MEMBER(struct glow_stage, w, 0, 8);
MEMBER(struct glow_stage, b, 8, 8);
MEMBER(struct glow_stage, logs, 16, 8);
MEMBER(struct glow_stage, logscale, 24, 8);
MEMBER(struct glow_stage, ksize, 32, 4);
MEMBER(struct glow_stage, flags, 36, 4);
MEMBER(struct glow_stage, act, 40, 4);
MEMBER(struct glow_stage, reserved, 44, 4);

SIZE(struct glow_net_call, 40);
MEMBER(struct glow_net_call, size, 0, 4);
MEMBER(struct glow_net_call, n_in, 4, 4);
MEMBER(struct glow_net_call, n_out, 8, 4);
MEMBER(struct glow_net_call, reserved, 12, 4);
MEMBER(struct glow_net_call, in, 16, 8);
MEMBER(struct glow_net_call, out_type, 24, 8);
MEMBER(struct glow_net_call, out, 32, 8);

SIZE(struct glow_custom_call, 48);
MEMBER(struct glow_custom_call, size, 0, 4);
MEMBER(struct glow_custom_call, n_in, 4, 4);
MEMBER(struct glow_custom_call, n_out, 8, 4);
MEMBER(struct glow_custom_call, n_attr, 12, 4);
MEMBER(struct glow_custom_call, id, 16, 8);
MEMBER(struct glow_custom_call, in, 24, 8);
MEMBER(struct glow_custom_call, attr, 32, 8);
MEMBER(struct glow_custom_call, out, 40, 8);

SIZE(struct glow_ops, 264);
MEMBER(struct glow_ops, size, 0, 4);
MEMBER(struct glow_ops, minor, 4, 4);
MEMBER(struct glow_ops, fail, 8, 8);
MEMBER(struct glow_ops, type, 16, 8);
MEMBER(struct glow_ops, phase, 24, 8);
MEMBER(struct glow_ops, constant, 32, 8);
MEMBER(struct glow_ops, array, 40, 8);
MEMBER(struct glow_ops, param, 48, 8);
MEMBER(struct glow_ops, init_from, 56, 8);
MEMBER(struct glow_ops, random, 64, 8);
MEMBER(struct glow_ops, unary, 72, 8);
MEMBER(struct glow_ops, binary, 80, 8);
MEMBER(struct glow_ops, where, 88, 8);
MEMBER(struct glow_ops, cast, 96, 8);
MEMBER(struct glow_ops, reduce, 104, 8);
MEMBER(struct glow_ops, cumsum, 112, 8);
MEMBER(struct glow_ops, softmax, 120, 8);
MEMBER(struct glow_ops, batch_mean, 128, 8);
MEMBER(struct glow_ops, reshape, 136, 8);
MEMBER(struct glow_ops, transpose, 144, 8);
MEMBER(struct glow_ops, broadcast, 152, 8);
MEMBER(struct glow_ops, slice, 160, 8);
MEMBER(struct glow_ops, concat, 168, 8);
MEMBER(struct glow_ops, pad, 176, 8);
MEMBER(struct glow_ops, take, 184, 8);
MEMBER(struct glow_ops, space_to_depth, 192, 8);
MEMBER(struct glow_ops, depth_to_space, 200, 8);
MEMBER(struct glow_ops, matmul, 208, 8);
MEMBER(struct glow_ops, matmul_channels, 216, 8);
MEMBER(struct glow_ops, conv2d, 224, 8);
MEMBER(struct glow_ops, conv_chain, 232, 8);
MEMBER(struct glow_ops, linalg, 240, 8);
MEMBER(struct glow_ops, net, 248, 8);
MEMBER(struct glow_ops, custom, 256, 8);

SIZE(struct glow_graph, 8);
MEMBER(struct glow_graph, op, 0, 8);

SIZE(struct glow_flow_ops, 72);
MEMBER(struct glow_flow_ops, size, 0, 4);
MEMBER(struct glow_flow_ops, minor, 4, 4);
MEMBER(struct glow_flow_ops, x, 8, 8);
MEMBER(struct glow_flow_ops, set_x, 16, 8);
MEMBER(struct glow_flow_ops, term, 24, 8);
MEMBER(struct glow_flow_ops, positions, 32, 8);
MEMBER(struct glow_flow_ops, emit, 40, 8);
MEMBER(struct glow_flow_ops, take, 48, 8);
MEMBER(struct glow_flow_ops, keep, 56, 8);
MEMBER(struct glow_flow_ops, kept, 64, 8);

SIZE(struct glow_flow, 8);
MEMBER(struct glow_flow, op, 0, 8);

SIZE(struct glow_self, 24);
MEMBER(struct glow_self, host, 0, 8);
MEMBER(struct glow_self, path, 8, 8);
MEMBER(struct glow_self, data, 16, 8);

SIZE(struct glow_host, 104);
MEMBER(struct glow_host, size, 0, 4);
MEMBER(struct glow_host, minor, 4, 4);
MEMBER(struct glow_host, get, 8, 8);
MEMBER(struct glow_host, opt_int, 16, 8);
MEMBER(struct glow_host, opt_real, 24, 8);
MEMBER(struct glow_host, opt_string, 32, 8);
MEMBER(struct glow_host, opt_count, 40, 8);
MEMBER(struct glow_host, opt_real_at, 48, 8);
MEMBER(struct glow_host, opt_string_at, 56, 8);
MEMBER(struct glow_host, fail, 64, 8);
MEMBER(struct glow_host, log, 72, 8);
MEMBER(struct glow_host, progress, 80, 8);
MEMBER(struct glow_host, random, 88, 8);
MEMBER(struct glow_host, cache_dir, 96, 8);

SIZE(struct glow_desc, 48);
MEMBER(struct glow_desc, size, 0, 4);
MEMBER(struct glow_desc, kind, 4, 4);
MEMBER(struct glow_desc, schema, 8, 4);
MEMBER(struct glow_desc, flags, 12, 4);
MEMBER(struct glow_desc, id, 16, 8);
MEMBER(struct glow_desc, summary, 24, 8);
MEMBER(struct glow_desc, options, 32, 8);
MEMBER(struct glow_desc, n_options, 40, 4);
MEMBER(struct glow_desc, option_size, 44, 4);

SIZE(struct glow_traits, 24);
MEMBER(struct glow_traits, size, 0, 4);
MEMBER(struct glow_traits, left, 4, 4);
MEMBER(struct glow_traits, right, 8, 4);
MEMBER(struct glow_traits, flags, 12, 4);
MEMBER(struct glow_traits, rtol, 16, 8);

SIZE(struct glow_create, 88);
MEMBER(struct glow_create, size, 0, 4);
MEMBER(struct glow_create, reserved, 4, 4);
MEMBER(struct glow_create, in, 8, 80);

SIZE(struct glow_layer, 112);
MEMBER(struct glow_layer, head, 0, 48);
MEMBER(struct glow_layer, create, 48, 8);
MEMBER(struct glow_layer, destroy, 56, 8);
MEMBER(struct glow_layer, forward, 64, 8);
MEMBER(struct glow_layer, inverse, 72, 8);
MEMBER(struct glow_layer, restore, 80, 8);
MEMBER(struct glow_layer, traits, 88, 24);

SIZE(struct glow_port, 16);
MEMBER(struct glow_port, name, 0, 8);
MEMBER(struct glow_port, direction, 8, 4);
MEMBER(struct glow_port, reserved, 12, 4);

SIZE(struct glow_net, 96);
MEMBER(struct glow_net, head, 0, 48);
MEMBER(struct glow_net, create, 48, 8);
MEMBER(struct glow_net, destroy, 56, 8);
MEMBER(struct glow_net, forward, 64, 8);
MEMBER(struct glow_net, ports, 72, 8);
MEMBER(struct glow_net, n_ports, 80, 4);
MEMBER(struct glow_net, port_size, 84, 4);
MEMBER(struct glow_net, properties, 88, 8);

SIZE(struct glow_prior_call, 120);
MEMBER(struct glow_prior_call, size, 0, 4);
MEMBER(struct glow_prior_call, reserved, 4, 4);
MEMBER(struct glow_prior_call, type, 8, 80);
MEMBER(struct glow_prior_call, z, 88, 8);
MEMBER(struct glow_prior_call, cond, 96, 8);
MEMBER(struct glow_prior_call, temperature, 104, 8);
MEMBER(struct glow_prior_call, out, 112, 8);

SIZE(struct glow_prior, 96);
MEMBER(struct glow_prior, head, 0, 48);
MEMBER(struct glow_prior, create, 48, 8);
MEMBER(struct glow_prior, destroy, 56, 8);
MEMBER(struct glow_prior, log_density, 64, 8);
MEMBER(struct glow_prior, sample, 72, 8);
MEMBER(struct glow_prior, standardise, 80, 8);
MEMBER(struct glow_prior, restore, 88, 8);

SIZE(struct glow_array, 96);
MEMBER(struct glow_array, data, 0, 8);
MEMBER(struct glow_array, n, 8, 8);
MEMBER(struct glow_array, type, 16, 80);

SIZE(struct glow_kernel_call, 48);
MEMBER(struct glow_kernel_call, size, 0, 4);
MEMBER(struct glow_kernel_call, n_in, 4, 4);
MEMBER(struct glow_kernel_call, n_out, 8, 4);
MEMBER(struct glow_kernel_call, n_attr, 12, 4);
MEMBER(struct glow_kernel_call, in, 16, 8);
MEMBER(struct glow_kernel_call, out, 24, 8);
MEMBER(struct glow_kernel_call, attr, 32, 8);
MEMBER(struct glow_kernel_call, scratch, 40, 8);

SIZE(struct glow_custom_infer, 56);
MEMBER(struct glow_custom_infer, size, 0, 4);
MEMBER(struct glow_custom_infer, n_in, 4, 4);
MEMBER(struct glow_custom_infer, n_out, 8, 4);
MEMBER(struct glow_custom_infer, n_attr, 12, 4);
MEMBER(struct glow_custom_infer, in, 16, 8);
MEMBER(struct glow_custom_infer, attr, 24, 8);
MEMBER(struct glow_custom_infer, out, 32, 8);
MEMBER(struct glow_custom_infer, why, 40, 8);
MEMBER(struct glow_custom_infer, why_size, 48, 8);

SIZE(struct glow_custom_vjp, 56);
MEMBER(struct glow_custom_vjp, size, 0, 4);
MEMBER(struct glow_custom_vjp, n_in, 4, 4);
MEMBER(struct glow_custom_vjp, n_out, 8, 4);
MEMBER(struct glow_custom_vjp, n_attr, 12, 4);
MEMBER(struct glow_custom_vjp, in, 16, 8);
MEMBER(struct glow_custom_vjp, out, 24, 8);
MEMBER(struct glow_custom_vjp, dout, 32, 8);
MEMBER(struct glow_custom_vjp, attr, 40, 8);
MEMBER(struct glow_custom_vjp, din, 48, 8);

SIZE(struct glow_kernel, (GLOW_ABI_MINOR < 1 ? 32 : 64));
MEMBER(struct glow_kernel, backend, 0, 8);
MEMBER(struct glow_kernel, dtype, 8, 4);
MEMBER(struct glow_kernel, reserved, 12, 4);
MEMBER(struct glow_kernel, run, 16, 8);
MEMBER(struct glow_kernel, scratch, 24, 8);
#if GLOW_ABI_MINOR >= 1
MEMBER(struct glow_kernel, image, 32, 8);
MEMBER(struct glow_kernel, image_end, 40, 8);
MEMBER(struct glow_kernel, entry, 48, 8);
MEMBER(struct glow_kernel, launch, 56, 8);

SIZE(struct glow_launch, 192);
MEMBER(struct glow_launch, size, 0, 4);
MEMBER(struct glow_launch, n_integers, 4, 4);
MEMBER(struct glow_launch, grid, 8, 12);
MEMBER(struct glow_launch, block, 20, 12);
MEMBER(struct glow_launch, shared, 32, 8);
MEMBER(struct glow_launch, scratch, 40, 8);
MEMBER(struct glow_launch, integers, 48, 128);
MEMBER(struct glow_launch, why, 176, 8);
MEMBER(struct glow_launch, why_size, 184, 8);
VALUE(GLOW_MAX_INTEGERS, 16);
#endif

SIZE(struct glow_custom, 88);
MEMBER(struct glow_custom, head, 0, 48);
MEMBER(struct glow_custom, infer, 48, 8);
MEMBER(struct glow_custom, decompose, 56, 8);
MEMBER(struct glow_custom, vjp, 64, 8);
MEMBER(struct glow_custom, kernels, 72, 8);
MEMBER(struct glow_custom, n_kernels, 80, 4);
MEMBER(struct glow_custom, kernel_size, 84, 4);

SIZE(struct glow_column, 136);
MEMBER(struct glow_column, name, 0, 8);
MEMBER(struct glow_column, unit, 8, 8);
MEMBER(struct glow_column, names, 16, 8);
MEMBER(struct glow_column, dtype, 24, 4);
MEMBER(struct glow_column, role, 28, 4);
MEMBER(struct glow_column, n_names, 32, 4);
MEMBER(struct glow_column, reserved, 36, 4);
MEMBER(struct glow_column, type, 40, 80);
MEMBER(struct glow_column, lo, 120, 8);
MEMBER(struct glow_column, hi, 128, 8);

SIZE(struct glow_data_info, 40);
MEMBER(struct glow_data_info, size, 0, 4);
MEMBER(struct glow_data_info, column_size, 4, 4);
MEMBER(struct glow_data_info, n_columns, 8, 4);
MEMBER(struct glow_data_info, flags, 12, 4);
MEMBER(struct glow_data_info, columns, 16, 8);
MEMBER(struct glow_data_info, count, 24, 8);
MEMBER(struct glow_data_info, fingerprint, 32, 8);

SIZE(struct glow_data_open, 104);
MEMBER(struct glow_data_open, size, 0, 4);
MEMBER(struct glow_data_open, reserved, 4, 4);
MEMBER(struct glow_data_open, split, 8, 8);
MEMBER(struct glow_data_open, want, 16, 80);
MEMBER(struct glow_data_open, seed, 96, 8);

SIZE(struct glow_data_read, 40);
MEMBER(struct glow_data_read, size, 0, 4);
MEMBER(struct glow_data_read, n, 4, 4);
MEMBER(struct glow_data_read, index, 8, 8);
MEMBER(struct glow_data_read, key, 16, 8);
MEMBER(struct glow_data_read, dst, 24, 8);
MEMBER(struct glow_data_read, worker, 32, 8);

SIZE(struct glow_dataset, 88);
MEMBER(struct glow_dataset, head, 0, 48);
MEMBER(struct glow_dataset, open, 48, 8);
MEMBER(struct glow_dataset, close, 56, 8);
MEMBER(struct glow_dataset, read, 64, 8);
MEMBER(struct glow_dataset, worker_open, 72, 8);
MEMBER(struct glow_dataset, worker_close, 80, 8);

SIZE(struct glow_plugin, 40);
MEMBER(struct glow_plugin, size, 0, 4);
MEMBER(struct glow_plugin, minor, 4, 4);
MEMBER(struct glow_plugin, name, 8, 8);
MEMBER(struct glow_plugin, version, 16, 8);
MEMBER(struct glow_plugin, license, 24, 8);
MEMBER(struct glow_plugin, descs, 32, 8);
#endif

VALUE(GLOW_OK, 0);
VALUE(GLOW_EINVAL, -1);
VALUE(GLOW_ENOMEM, -2);
VALUE(GLOW_EIO, -3);
VALUE(GLOW_ENOTSUP, -4);
VALUE(GLOW_ECANCEL, -5);
VALUE(GLOW_REAL, 1);
VALUE(GLOW_HI, 2);
VALUE(GLOW_BOOL, 3);
VALUE(GLOW_U8, 16);
VALUE(GLOW_I32, 17);
VALUE(GLOW_I64, 18);
VALUE(GLOW_F32, 19);
VALUE(GLOW_F64, 20);
VALUE(GLOW_OPT_INT, 1);
VALUE(GLOW_OPT_REAL, 2);
VALUE(GLOW_OPT_BOOL, 3);
VALUE(GLOW_OPT_STRING, 4);
VALUE(GLOW_OPT_ENUM, 5);
VALUE(GLOW_OPT_PATH, 6);
VALUE(GLOW_OPT_INTS, 7);
VALUE(GLOW_OPT_REALS, 8);
VALUE(GLOW_OPT_STRINGS, 9);
VALUE(GLOW_OPT_CHILD, 10);
VALUE(GLOW_INIT_ZERO, 0);
VALUE(GLOW_INIT_CONSTANT, 1);
VALUE(GLOW_INIT_NORMAL, 2);
VALUE(GLOW_INIT_UNIFORM, 3);
VALUE(GLOW_INIT_FILL, 4);
VALUE(GLOW_PARAM_FROZEN, 1);
VALUE(GLOW_PARAM_NO_EMA, 2);
VALUE(GLOW_PARAM_NO_L2, 4);
VALUE(GLOW_NEG, 1);
VALUE(GLOW_EXP, 2);
VALUE(GLOW_LOG, 3);
VALUE(GLOW_SQRT, 4);
VALUE(GLOW_ABS, 5);
VALUE(GLOW_SQUARE, 6);
VALUE(GLOW_RECIP, 7);
VALUE(GLOW_SIGMOID, 8);
VALUE(GLOW_LOG_SIGMOID, 9);
VALUE(GLOW_SOFTPLUS, 10);
VALUE(GLOW_TANH, 11);
VALUE(GLOW_RELU, 12);
VALUE(GLOW_EXPM1, 13);
VALUE(GLOW_LOG1P, 14);
VALUE(GLOW_SIN, 15);
VALUE(GLOW_COS, 16);
VALUE(GLOW_FLOOR, 17);
VALUE(GLOW_SIGN, 18);
VALUE(GLOW_STOP, 19);
VALUE(GLOW_UNARY_END, 20);
VALUE(GLOW_ADD, 1);
VALUE(GLOW_SUB, 2);
VALUE(GLOW_MUL, 3);
VALUE(GLOW_DIV, 4);
VALUE(GLOW_POW, 5);
VALUE(GLOW_MIN, 6);
VALUE(GLOW_MAX, 7);
VALUE(GLOW_LT, 8);
VALUE(GLOW_LE, 9);
VALUE(GLOW_GT, 10);
VALUE(GLOW_GE, 11);
VALUE(GLOW_EQ, 12);
VALUE(GLOW_BINARY_END, 13);
VALUE(GLOW_SUM, 1);
VALUE(GLOW_MEAN, 2);
VALUE(GLOW_REDUCE_MAX, 3);
VALUE(GLOW_REDUCE_MIN, 4);
VALUE(GLOW_LOGSUMEXP, 5);
VALUE(GLOW_UNIFORM, 1);
VALUE(GLOW_GAUSS, 2);
VALUE(GLOW_SIGNS, 3);
VALUE(GLOW_ORDER_BLOCK, 0);
VALUE(GLOW_ORDER_CHANNEL, 1);
VALUE(GLOW_TRANSPOSE_A, 1);
VALUE(GLOW_TRANSPOSE_B, 2);
VALUE(GLOW_LU_COMPOSE, 1);
VALUE(GLOW_SLOGDET, 2);
VALUE(GLOW_INVERSE, 3);
VALUE(GLOW_ACT_NONE, 0);
VALUE(GLOW_ACT_RELU, 1);
VALUE(GLOW_ACT_TANH, 2);
VALUE(GLOW_ACT_SIGMOID, 3);
VALUE(GLOW_EDGE_BIAS, 1);
VALUE(GLOW_PHASE_TRAIN, 1);
VALUE(GLOW_PHASE_INIT, 2);
VALUE(GLOW_PHASE_SAMPLE, 4);
VALUE(GLOW_LOGDET, 1);
VALUE(GLOW_LOGDET_EST, 2);
VALUE(GLOW_BOUND, 4);
VALUE(GLOW_LOGP, 8);
VALUE(GLOW_PENALTY, 16);
VALUE(GLOW_METRIC, 32);
VALUE(GLOW_LAYER, 1);
VALUE(GLOW_NET, 2);
VALUE(GLOW_PRIOR, 3);
VALUE(GLOW_DATASET, 4);
VALUE(GLOW_CUSTOM, 5);
VALUE(GLOW_INV_NONE, 0);
VALUE(GLOW_INV_APPROX, 1);
VALUE(GLOW_INV_EXACT, 2);
VALUE(GLOW_SLOW_FORWARD, 1);
VALUE(GLOW_SLOW_INVERSE, 2);
VALUE(GLOW_STOCHASTIC, 4);
VALUE(GLOW_NET_AUTOREGRESSIVE, 1);
VALUE(GLOW_NET_LIPSCHITZ, 2);
VALUE(GLOW_NET_MONOTONE, 4);
VALUE(GLOW_NET_IMAGE, 8);
VALUE(GLOW_NET_ROW, 16);
VALUE(GLOW_PORT_IN, 0);
VALUE(GLOW_PORT_OUT, 1);
VALUE(GLOW_ROLE_X, 1);
VALUE(GLOW_ROLE_CONTEXT, 2);
VALUE(GLOW_ROLE_LABEL, 3);
VALUE(GLOW_ROLE_TARGET, 4);
VALUE(GLOW_ROLE_MASK, 5);
VALUE(GLOW_ROLE_WEIGHT, 6);
VALUE(GLOW_DATA_SERIAL, 1);
VALUE(GLOW_DATA_STREAM, 2);
/* clang-format on */
