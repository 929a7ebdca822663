# tests/ - Check programs, one for each module, and scripts. They run in the build directory and find
# their inputs in $top_srcdir.
LDADD = core/libcore.la $(CHECK_LIBS)
AM_CPPFLAGS += -I$(top_srcdir)/tests $(CHECK_CFLAGS) $(JANSSON_CFLAGS)

if HAVE_CHECK
check_PROGRAMS +=
TESTS += $(check_PROGRAMS)
endif
