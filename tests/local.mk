# tests/ - Check programs, one for each module, and scripts. They run in the build directory and find
# their inputs in $top_srcdir.
LDADD = core/libcore.la $(CHECK_LIBS)
AM_CPPFLAGS += -I$(top_srcdir)/tests $(CHECK_CFLAGS) $(JANSSON_CFLAGS)

if HAVE_CHECK
check_PROGRAMS += \
	%D%/test_npy \
	%D%/test_picture \
	%D%/test_safetensors
TESTS += $(check_PROGRAMS)
endif
noinst_HEADERS += \
	%D%/scratch.h
