# core/cuda/ - the CUDA backend, a module that the program opens when it is wanted: neither the program nor
# a plug-in links CUDA. The .cu files use no C++ run time, so that the module is linked like C.
cuda_sources = \
	%D%/chain.c \
	%D%/chain.h \
	%D%/chain_vjp.c \
	%D%/conv.c \
	%D%/custom.c \
	%D%/cuda.h \
	%D%/engine.c \
	%D%/engine.h \
	%D%/element_table.h \
	%D%/fused_code.c \
	%D%/fused_code.h \
	%D%/fused_compile.c \
	%D%/images.c \
	%D%/memory.c \
	%D%/module.c \
	%D%/plans.c \
	%D%/products.c \
	%D%/table.c \
	%D%/table.h
cuda_kernels = \
	%D%/axes.h \
	%D%/bf16.h \
	%D%/chain.cu \
	%D%/chain_weights.cu \
	%D%/element.h \
	%D%/elementwise.cu \
	%D%/fused.cu \
	%D%/gemm.cu \
	%D%/launch.h \
	%D%/layout.cu \
	%D%/linalg.cu \
	%D%/random.cu \
	%D%/reduce.cu \
	%D%/update.cu
backend_module_flags = -module -avoid-version -shared -no-undefined $(NO_UNDEFINED_LDFLAGS) \
	-export-symbols-regex '^glow_backend_module$$'

if CUDA
pkglib_LTLIBRARIES += %D%/glow-cuda.la
%C%_glow_cuda_la_SOURCES = $(cuda_sources) $(cuda_kernels)
%C%_glow_cuda_la_CPPFLAGS = $(AM_CPPFLAGS) $(CUDA_CPPFLAGS)
%C%_glow_cuda_la_LDFLAGS = $(backend_module_flags) -module $(CUDA_LDFLAGS)
%C%_glow_cuda_la_LIBADD = $(CUDA_LIBS) $(DL_LIBS) -lm
%C%_glow_cuda_la_LINK = $(LIBTOOL) $(AM_V_lt) --tag=CC --mode=link $(CC) $(AM_CFLAGS) $(CFLAGS) \
	$(%C%_glow_cuda_la_LDFLAGS) $(LDFLAGS) -o $@
-include %D%/chain.nvd %D%/chain_weights.nvd %D%/elementwise.nvd %D%/fused.nvd %D%/gemm.nvd %D%/layout.nvd %D%/linalg.nvd
-include %D%/random.nvd %D%/reduce.nvd %D%/update.nvd
endif
EXTRA_DIST += $(cuda_sources) $(cuda_kernels)

SUFFIXES = .cu
# No multiplication and addition in one: normal numbers are the CPU's to the bit, and what alone, interpreted
# and compiled chains make of an element (fused_compile.c) has the same bits; CUDA's own exp, log and tanh hold
# both operations.
%D%/elementwise.lo %D%/fused.lo %D%/random.lo: exact = -fmad=false
AM_V_NVCC = $(am__v_NVCC_@AM_V@)
am__v_NVCC_ = $(am__v_NVCC_@AM_DEFAULT_V@)
am__v_NVCC_0 = @echo "  NVCC    " $@;
AM_NVCCFLAGS = --forward-unknown-to-host-compiler -O3 -std=c++17 -fno-exceptions -fno-rtti \
	-fno-threadsafe-statics -fvisibility=hidden -Wall -Wextra -Wno-missing-field-initializers
.cu.lo:
	$(AM_V_NVCC)$(MKDIR_P) $(@D) && $(LIBTOOL) $(AM_V_lt) --tag=CC --mode=compile $(NVCC) \
	  $(NVCC_GENCODE) -I$(top_srcdir)/core/include $(CUDA_CPPFLAGS) $(AM_NVCCFLAGS) $(exact) \
	  $(NVCCFLAGS) \
	  -MD -MP -MF $(@:.lo=.nvd) -MT $@ -c -o $@ $<
CLEANFILES += %D%/*.nvd
