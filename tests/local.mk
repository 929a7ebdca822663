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
AM_CPPFLAGS += -I$(top_srcdir)/tests $(CHECK_CFLAGS) $(JANSSON_CFLAGS)

if HAVE_CHECK
check_PROGRAMS += \
	%D%/test_config \
	%D%/test_npy \
	%D%/test_options \
	%D%/test_picture \
	%D%/test_safetensors
TESTS += $(check_PROGRAMS)
endif
noinst_HEADERS += \
	%D%/scratch.h
