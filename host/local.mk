# host/ - the program: main.c and one file per command.
bin_PROGRAMS += %D%/glow
%C%_glow_SOURCES = \
	%D%/arguments.c \
	%D%/arguments.h \
	%D%/bench.c \
	%D%/check.c \
	%D%/clock.h \
	%D%/command.h \
	%D%/decode.c \
	%D%/encode.c \
	%D%/eval.c \
	%D%/evaluation.c \
	%D%/evaluation.h \
	%D%/info.c \
	%D%/interpolate.c \
	%D%/latents.c \
	%D%/latents.h \
	%D%/main.c \
	%D%/output.c \
	%D%/output.h \
	%D%/peak.c \
	%D%/peak.h \
	%D%/plugins.c \
	%D%/port.c \
	%D%/port.h \
	%D%/rows.c \
	%D%/rows.h \
	%D%/run.c \
	%D%/run.h \
	%D%/sample.c \
	%D%/sampling.c \
	%D%/sampling.h \
	%D%/score.c \
	%D%/session.c \
	%D%/session.h \
	%D%/train.c
%C%_glow_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
%C%_glow_LDADD = core/libcore.la $(JANSSON_LIBS)
