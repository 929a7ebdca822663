# core/ - the engine, linked into the program and the tests. What a plug-in needs is one header.
glowincludedir = $(includedir)/glow
glowinclude_HEADERS = %D%/include/glow/plugin.h
pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = %D%/glow.pc

noinst_LTLIBRARIES += %D%/libcore.la
%C%_libcore_la_SOURCES = \
	%D%/backend.c \
	%D%/backend.h \
	%D%/backend_module.h \
	%D%/bump.c \
	%D%/bump.h \
	%D%/checkpoint.c \
	%D%/checkpoint.h \
	%D%/config.c \
	%D%/config.h \
	%D%/conform.c \
	%D%/conform.h \
	%D%/conform_data.c \
	%D%/conform_layer.c \
	%D%/conform_prior.c \
	%D%/custom.c \
	%D%/custom.h \
	%D%/data.c \
	%D%/data.h \
	%D%/data_private.h \
	%D%/data_stream.c \
	%D%/descriptor.c \
	%D%/descriptor.h \
	%D%/file.c \
	%D%/file.h \
	%D%/flow.c \
	%D%/flow.h \
	%D%/fuse.c \
	%D%/fuse.h \
	%D%/grad.c \
	%D%/graph.c \
	%D%/graph.h \
	%D%/infer.c \
	%D%/instance.c \
	%D%/instance.h \
	%D%/literal.c \
	%D%/literal.h \
	%D%/model.c \
	%D%/model.h \
	%D%/model_params.c \
	%D%/model_private.h \
	%D%/npy.c \
	%D%/npy.h \
	%D%/ops.def \
	%D%/optable.c \
	%D%/options.c \
	%D%/options.h \
	%D%/options_records.c \
	%D%/philox.h \
	%D%/packing.c \
	%D%/packing.h \
	%D%/picture.c \
	%D%/picture.h \
	%D%/plan.c \
	%D%/plan.h \
	%D%/policy.c \
	%D%/policy.h \
	%D%/plot.c \
	%D%/plot.h \
	%D%/plot_curves.c \
	%D%/plot_density.c \
	%D%/plot_private.h \
	%D%/program.c \
	%D%/program.h \
	%D%/progress.c \
	%D%/progress.h \
	%D%/range.c \
	%D%/range.h \
	%D%/registry.c \
	%D%/registry.h \
	%D%/rewrite.c \
	%D%/runlog.c \
	%D%/runlog.h \
	%D%/safetensors.c \
	%D%/safetensors.h \
	%D%/series.h \
	%D%/settings.c \
	%D%/settings.h \
	%D%/shuffle.c \
	%D%/shuffle.h \
	%D%/source.c \
	%D%/source.h \
	%D%/specimen.c \
	%D%/specimen.h \
	%D%/status.c \
	%D%/status.h \
	%D%/tensor.h \
	%D%/train.c \
	%D%/train.h \
	%D%/walk.c
# PKGLIBDIR: where plug-ins are installed, in directories layers, nets, priors and datasets. A program
# that runs from the build tree, /proc/self/exe being BUILD/host/glow, takes BUILD/plugins/*/.libs.
%C%_libcore_la_CPPFLAGS = $(AM_CPPFLAGS) $(LIBCONFIG_CFLAGS) $(JANSSON_CFLAGS) $(SPNG_CFLAGS) \
	$(TURBOJPEG_CFLAGS) $(CAIRO_CFLAGS) -DPKGLIBDIR='"$(pkglibdir)"'
%C%_libcore_la_LIBADD = core/cpu/libcpu.la $(LIBCONFIG_LIBS) $(JANSSON_LIBS) $(SPNG_LIBS) \
	$(TURBOJPEG_LIBS) $(CAIRO_LIBS) $(DL_LIBS)
