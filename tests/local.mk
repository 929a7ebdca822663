# tests/ - Check programs, one for each module, and scripts. They run in the build directory and get
#   srcdir, builddir     the tops of the source and the build tree
#   GLOW_PLUGIN_PATH     the modules of plugins/, not installed yet
#   GLOW, CC, PYTHON     the program, the compiler, Python 3 (":" when there is none)
# An exit code of 77 means skipped.
TESTS_PLUGINS = $(abs_builddir)/plugins
AM_TESTS_ENVIRONMENT = \
	srcdir='$(abs_srcdir)'; builddir='$(abs_builddir)'; export srcdir builddir; \
	GLOW_PLUGIN_PATH='$(TESTS_PLUGINS)/layers/.libs:$(TESTS_PLUGINS)/nets/.libs'; \
	GLOW_PLUGIN_PATH="$$GLOW_PLUGIN_PATH:$(TESTS_PLUGINS)/priors/.libs"; \
	GLOW_PLUGIN_PATH="$$GLOW_PLUGIN_PATH:$(TESTS_PLUGINS)/datasets/.libs"; \
	export GLOW_PLUGIN_PATH; \
	GLOW='$(abs_builddir)/host/glow'; CC='$(CC)'; PYTHON='$(PYTHON)'; export GLOW CC PYTHON;
TEST_EXTENSIONS = .sh
SH_LOG_COMPILER = bash

LDADD = core/libcore.la $(CHECK_LIBS)
AM_CPPFLAGS += -I$(top_srcdir)/tests $(CHECK_CFLAGS) $(JANSSON_CFLAGS) $(SPNG_CFLAGS) \
	$(TURBOJPEG_CFLAGS) $(CAIRO_CFLAGS)

if HAVE_CHECK
check_PROGRAMS += \
	%D%/test_config \
	%D%/test_cpu \
	%D%/test_data \
	%D%/test_instance \
	%D%/test_kernels \
	%D%/test_npy \
	%D%/test_options \
	%D%/test_picture \
	%D%/test_plot \
	%D%/test_products \
	%D%/test_registry \
	%D%/test_runlog \
	%D%/test_safetensors \
	%D%/test_shuffle

# The CPU's kernels against a naive reference.
check_LTLIBRARIES += %D%/libkernels_test.la
%C%_libkernels_test_la_SOURCES = \
	%D%/kernels_reference.c \
	%D%/kernels_reference.h \
	%D%/kernels_run.c \
	%D%/kernels_run.h
kernels_LIBS = %D%/libkernels_test.la $(LDADD)
%C%_test_cpu_LDADD = $(kernels_LIBS)
%C%_test_kernels_LDADD = $(kernels_LIBS)
%C%_test_products_LDADD = $(kernels_LIBS)

# The engine and its plug-ins: small models on the rig, and the conformance suite.
check_LTLIBRARIES += %D%/librig.la
%C%_librig_la_SOURCES = \
	%D%/flows.c \
	%D%/flows.h \
	%D%/plugin_suite.c \
	%D%/plugin_suite.h \
	%D%/rig.c \
	%D%/rig.h
engine_LIBS = %D%/librig.la $(LDADD)
check_PROGRAMS += \
	%D%/test_bf16 \
	%D%/test_checkpoint \
	%D%/test_conform \
	%D%/test_flow \
	%D%/test_fuse \
	%D%/test_gradient \
	%D%/test_graph \
	%D%/test_model \
	%D%/test_packing \
	%D%/test_plan \
	%D%/test_policy \
	%D%/test_program \
	%D%/test_rewrite \
	%D%/test_settings \
	%D%/test_steady \
	%D%/test_train \
	%D%/test_types \
	%D%/layers/test_actnorm \
	%D%/layers/test_additive \
	%D%/layers/test_affine \
	%D%/layers/test_factor_out \
	%D%/layers/test_invconv \
	%D%/layers/test_logit \
	%D%/layers/test_permute \
	%D%/layers/test_quantize \
	%D%/layers/test_squeeze \
	%D%/nets/test_mlp \
	%D%/nets/test_openai \
	%D%/nets/test_resnet \
	%D%/priors/test_learned \
	%D%/priors/test_normal
%C%_test_bf16_LDADD = $(engine_LIBS)
%C%_test_checkpoint_LDADD = $(engine_LIBS)
%C%_test_conform_LDADD = $(engine_LIBS)
%C%_test_flow_LDADD = $(engine_LIBS)
%C%_test_fuse_LDADD = $(engine_LIBS)
%C%_test_gradient_LDADD = $(engine_LIBS)
%C%_test_graph_LDADD = $(engine_LIBS)
%C%_test_model_LDADD = $(engine_LIBS)
%C%_test_packing_LDADD = $(engine_LIBS)
%C%_test_plan_LDADD = $(engine_LIBS)
%C%_test_policy_LDADD = $(engine_LIBS)
%C%_test_program_LDADD = $(engine_LIBS)
%C%_test_rewrite_LDADD = $(engine_LIBS)
%C%_test_settings_LDADD = $(engine_LIBS)
%C%_test_steady_LDADD = $(engine_LIBS) $(DL_LIBS)
%C%_test_train_LDADD = $(engine_LIBS)
%C%_test_types_LDADD = $(engine_LIBS)
%C%_layers_test_actnorm_LDADD = $(engine_LIBS)
%C%_layers_test_additive_LDADD = $(engine_LIBS)
%C%_layers_test_affine_LDADD = $(engine_LIBS)
%C%_layers_test_factor_out_LDADD = $(engine_LIBS)
%C%_layers_test_invconv_LDADD = $(engine_LIBS)
%C%_layers_test_logit_LDADD = $(engine_LIBS)
%C%_layers_test_permute_LDADD = $(engine_LIBS)
%C%_layers_test_quantize_LDADD = $(engine_LIBS)
%C%_layers_test_squeeze_LDADD = $(engine_LIBS)
%C%_nets_test_mlp_LDADD = $(engine_LIBS)
%C%_nets_test_openai_LDADD = $(engine_LIBS)
%C%_nets_test_resnet_LDADD = $(engine_LIBS)
%C%_priors_test_learned_LDADD = $(engine_LIBS)
%C%_priors_test_normal_LDADD = $(engine_LIBS)

# The tests of data sets share a small host of their own and files made for them.
check_LTLIBRARIES += %D%/datasets/libharness.la
%C%_datasets_libharness_la_SOURCES = \
	%D%/datasets/fixtures.c \
	%D%/datasets/fixtures.h \
	%D%/datasets/harness.c \
	%D%/datasets/harness.h \
	%D%/datasets/reference.h
%C%_datasets_libharness_la_CPPFLAGS = $(AM_CPPFLAGS) $(SPNG_CFLAGS) $(TURBOJPEG_CFLAGS) \
	$(ZIP_CFLAGS) $(ZLIB_CFLAGS)
%C%_datasets_libharness_la_LIBADD = $(SPNG_LIBS) $(TURBOJPEG_LIBS) $(ZIP_LIBS) $(ZLIB_LIBS)
harness_LIBS = %D%/datasets/libharness.la $(LDADD)
check_PROGRAMS += \
	%D%/datasets/test_cache \
	%D%/datasets/test_celeba \
	%D%/datasets/test_glyphs \
	%D%/datasets/test_idx \
	%D%/datasets/test_image \
	%D%/datasets/test_images \
	%D%/datasets/test_npy \
	%D%/datasets/test_toy2d
%C%_datasets_test_cache_CPPFLAGS = $(AM_CPPFLAGS) -iquote $(top_srcdir)/plugins/datasets
%C%_datasets_test_cache_LDADD = plugins/datasets/libimage.la plugins/datasets/libdataset.la \
	$(harness_LIBS)
%C%_datasets_test_celeba_CPPFLAGS = $(AM_CPPFLAGS) $(TURBOJPEG_CFLAGS)
%C%_datasets_test_celeba_LDADD = $(harness_LIBS)
%C%_datasets_test_glyphs_LDADD = $(harness_LIBS)
%C%_datasets_test_idx_LDADD = $(harness_LIBS)
%C%_datasets_test_image_CPPFLAGS = $(AM_CPPFLAGS) -iquote $(top_srcdir)/plugins/datasets
%C%_datasets_test_image_LDADD = plugins/datasets/libimage.la plugins/datasets/libdataset.la \
	$(harness_LIBS)
%C%_datasets_test_images_LDADD = $(harness_LIBS)
%C%_datasets_test_npy_LDADD = $(harness_LIBS)
%C%_datasets_test_toy2d_LDADD = $(harness_LIBS)
TESTS += $(check_PROGRAMS)
endif
noinst_HEADERS += \
	%D%/compile.h \
	%D%/scratch.h
# What docs/abi.md promises of the header and the modules; also alone, as check-abi.
abi_tests = %D%/abi/header.sh %D%/abi/symbols.sh %D%/abi/abidiff.sh %D%/abi/frozen.sh
program_tests = %D%/test_examples.sh %D%/test_resume.sh
TESTS += $(abi_tests) $(program_tests) %D%/bad/run.sh %D%/fuzz_config.sh
dist_check_SCRIPTS += $(abi_tests) $(program_tests) %D%/bad/run.sh %D%/fuzz_config.sh
check-abi: all
	@$(AM_TESTS_ENVIRONMENT) status=0; for script in $(abi_tests); do \
	  $(SH_LOG_COMPILER) $(srcdir)/$$script; code=$$?; \
	  test $$code = 0 || test $$code = 77 || { echo "$$script failed"; status=1; }; \
	done; exit $$status

# Sources that the tests compile themselves.
EXTRA_DIST += \
	%D%/abi/layout.c \
	%D%/abi/plugin-1.0.h \
	%D%/abi/plugin-1.1.abi \
	%D%/abi/plugin-1.1.h \
	%D%/abi/plugin.c \
	%D%/abi/types.c \
	%D%/fuzz_config.c \
	%D%/valgrind.supp \
	%D%/bad/abi2.c \
	%D%/bad/bad.h \
	%D%/bad/bad_custom.h \
	%D%/bad/bad_default.c \
	%D%/bad/bad_graph.c \
	%D%/bad/bad_id.c \
	%D%/bad/claims_inverse.c \
	%D%/bad/create_fails.c \
	%D%/bad/custom_disagrees.c \
	%D%/bad/duplicate_id.c \
	%D%/bad/fails_in_forward.c \
	%D%/bad/function.c \
	%D%/bad/good.c \
	%D%/bad/half_prior.c \
	%D%/bad/image_for_cpu.c \
	%D%/bad/image_with_run.c \
	%D%/bad/image_without_entry.c \
	%D%/bad/image_without_end.c \
	%D%/bad/larger_kernels.c \
	%D%/bad/larger_structs.c \
	%D%/bad/long_plugin.c \
	%D%/bad/newer_minor.c \
	%D%/bad/no_decompose.c \
	%D%/bad/no_descs.c \
	%D%/bad/no_forward.c \
	%D%/bad/no_read.c \
	%D%/bad/no_symbol.c \
	%D%/bad/no_traits.c \
	%D%/bad/null_id.c \
	%D%/bad/short_head.c \
	%D%/bad/short_option.c \
	%D%/bad/short_plugin.c \
	%D%/bad/short_struct.c \
	%D%/bad/undefined.c \
	%D%/bad/unknown_kind.c \
	%D%/bad/unknown_option.c \
	%D%/bad/wrong_shape.c \
	%D%/plugins/approximate.c \
	%D%/plugins/crease.c \
	%D%/plugins/deaf.c \
	%D%/plugins/fold.c \
	%D%/plugins/fragile.c \
	%D%/plugins/gate.c \
	%D%/plugins/hostfn.c \
	%D%/plugins/moment.c \
	%D%/plugins/oneway.c \
	%D%/plugins/shared_noise.c \
	%D%/plugins/twice.c \
	%D%/wrong/wrong_inverse.c \
	%D%/wrong/wrong_logdet.c \
	%D%/wrong/wrong_vjp.c

# The program, end to end.
host_tests = %D%/host/commands.sh %D%/host/mistakes.sh %D%/host/precision.sh %D%/host/resume.sh
TESTS += $(host_tests)
dist_check_SCRIPTS += $(host_tests)
EXTRA_DIST += %D%/host/common.sh

# The independent witness in NumPy; dump shows it the engine's numbers.
EXTRA_PROGRAMS += %D%/parity/dump
%C%_parity_dump_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
%C%_parity_dump_LDADD = core/libcore.la $(JANSSON_LIBS)
check_DATA = %D%/parity/dump$(EXEEXT)
CLEANFILES += %D%/parity/dump$(EXEEXT)
parity_tests = %D%/parity/parity.sh %D%/parity/toy2d.sh
TESTS += $(parity_tests)
dist_check_SCRIPTS += $(parity_tests)
EXTRA_DIST += \
	%D%/parity/additive.cfg \
	%D%/parity/checkpoint.py \
	%D%/parity/densities.py \
	%D%/parity/flow.py \
	%D%/parity/init.cfg \
	%D%/parity/learned.cfg \
	%D%/parity/mnist.cfg \
	%D%/parity/openai.cfg \
	%D%/parity/parity.py \
	%D%/parity/philox.py \
	%D%/parity/plain.cfg \
	%D%/parity/python.sh \
	%D%/parity/rows.cfg \
	%D%/parity/toy2d.py
