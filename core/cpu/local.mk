# core/cpu/ - the CPU backend. The files of isa/ are compiled once per instruction set and real type, each
# time into a library of their own; cpu.c picks among them when the program runs. Those of convolutions are
# compiled once more, to multiply bfloats. libcpu.la holds it all.
%C%_convolutions = \
	%D%/isa/chain.c \
	%D%/isa/chain.h \
	%D%/isa/chain_border.c \
	%D%/isa/chain_plan.c \
	%D%/isa/chain_scatter.c \
	%D%/isa/chain_tile.c \
	%D%/isa/chain_vjp.c \
	%D%/isa/chain_weights.c \
	%D%/isa/conv.c \
	%D%/isa/gemm.c \
	%D%/isa/gemm.h \
	%D%/isa/gemm_pack.c \
	%D%/isa/im2col.c \
	%D%/isa/im2col.h \
	%D%/isa/kernels.h \
	%D%/isa/real_math.h \
	%D%/isa/table.c \
	%D%/isa/word.h
%C%_kernels = \
	$(%C%_convolutions) \
	%D%/isa/custom.c \
	%D%/isa/elementwise.c \
	%D%/isa/fused.c \
	%D%/isa/fused.h \
	%D%/isa/fused_code.c \
	%D%/isa/layout.c \
	%D%/isa/linalg.c \
	%D%/isa/matmul.c \
	%D%/isa/optim.c \
	%D%/isa/random.c \
	%D%/isa/reduce.c \
	%D%/isa/reduce.h \
	%D%/isa/tile.h
# Not -ffast-math: NaN and Inf keep their meaning, and results do not depend on the compiler's mood.
# -ftree-vectorize stands apart from -O3 because a -O2 in CFLAGS comes behind and would undo it.
%C%_flags = $(AM_CFLAGS) -O3 -ftree-vectorize -fno-math-errno -fno-trapping-math -ffp-contract=fast \
	-fno-semantic-interposition -Wno-pass-failed
%C%_flags_avx2 = $(%C%_flags) -mavx2 -mfma -mprfchw
%C%_flags_avx512 = $(%C%_flags) -mavx512f -mavx512vl -mavx512dq -mavx512bw -mavx2 -mfma -mprfchw \
	-mprefer-vector-width=512
%C%_flags_avx512bf16 = $(%C%_flags_avx512) -mavx512bf16

noinst_LTLIBRARIES += %D%/libkernels_base_32.la %D%/libkernels_base_64.la %D%/libkernels_base_16.la
%C%_libkernels_base_32_la_SOURCES = $(%C%_kernels)
%C%_libkernels_base_32_la_CPPFLAGS = $(AM_CPPFLAGS) -DISA=base -DREAL_BITS=32
%C%_libkernels_base_32_la_CFLAGS = $(%C%_flags)
%C%_libkernels_base_64_la_SOURCES = $(%C%_kernels)
%C%_libkernels_base_64_la_CPPFLAGS = $(AM_CPPFLAGS) -DISA=base -DREAL_BITS=64
%C%_libkernels_base_64_la_CFLAGS = $(%C%_flags)
%C%_libkernels_base_16_la_SOURCES = $(%C%_convolutions)
%C%_libkernels_base_16_la_CPPFLAGS = $(AM_CPPFLAGS) -DISA=base -DREAL_BITS=32 -DBF16
%C%_libkernels_base_16_la_CFLAGS = $(%C%_flags)
%C%_libraries = %D%/libkernels_base_32.la %D%/libkernels_base_64.la %D%/libkernels_base_16.la

noinst_LTLIBRARIES += %D%/libcpu.la
%C%_libcpu_la_SOURCES = %D%/cpu.c %D%/isa.h %D%/pool.c %D%/pool.h %D%/walk.c %D%/walk.h
%C%_libcpu_la_CPPFLAGS = $(AM_CPPFLAGS)
%C%_libcpu_la_LIBADD = $(%C%_libraries)

if X86
%C%_libcpu_la_CPPFLAGS += -DX86_KERNELS
%C%_x86_libraries = \
	%D%/libkernels_avx2_32.la %D%/libkernels_avx2_64.la %D%/libkernels_avx2_16.la \
	%D%/libkernels_avx512_32.la %D%/libkernels_avx512_64.la %D%/libkernels_avx512_16.la \
	%D%/libkernels_avx512bf16_16.la
noinst_LTLIBRARIES += $(%C%_x86_libraries)
%C%_libkernels_avx2_32_la_SOURCES = $(%C%_kernels)
%C%_libkernels_avx2_32_la_CPPFLAGS = $(AM_CPPFLAGS) -DISA=avx2 -DREAL_BITS=32
%C%_libkernels_avx2_32_la_CFLAGS = $(%C%_flags_avx2)
%C%_libkernels_avx2_64_la_SOURCES = $(%C%_kernels)
%C%_libkernels_avx2_64_la_CPPFLAGS = $(AM_CPPFLAGS) -DISA=avx2 -DREAL_BITS=64
%C%_libkernels_avx2_64_la_CFLAGS = $(%C%_flags_avx2)
%C%_libkernels_avx512_32_la_SOURCES = $(%C%_kernels)
%C%_libkernels_avx512_32_la_CPPFLAGS = $(AM_CPPFLAGS) -DISA=avx512 -DREAL_BITS=32
%C%_libkernels_avx512_32_la_CFLAGS = $(%C%_flags_avx512)
%C%_libkernels_avx512_64_la_SOURCES = $(%C%_kernels)
%C%_libkernels_avx512_64_la_CPPFLAGS = $(AM_CPPFLAGS) -DISA=avx512 -DREAL_BITS=64
%C%_libkernels_avx512_64_la_CFLAGS = $(%C%_flags_avx512)
%C%_libkernels_avx2_16_la_SOURCES = $(%C%_convolutions)
%C%_libkernels_avx2_16_la_CPPFLAGS = $(AM_CPPFLAGS) -DISA=avx2 -DREAL_BITS=32 -DBF16
%C%_libkernels_avx2_16_la_CFLAGS = $(%C%_flags_avx2)
%C%_libkernels_avx512_16_la_SOURCES = $(%C%_convolutions)
%C%_libkernels_avx512_16_la_CPPFLAGS = $(AM_CPPFLAGS) -DISA=avx512 -DREAL_BITS=32 -DBF16
%C%_libkernels_avx512_16_la_CFLAGS = $(%C%_flags_avx512)
%C%_libkernels_avx512bf16_16_la_SOURCES = $(%C%_convolutions)
%C%_libkernels_avx512bf16_16_la_CPPFLAGS = $(AM_CPPFLAGS) -DISA=avx512bf16 -DREAL_BITS=32 -DBF16
%C%_libkernels_avx512bf16_16_la_CFLAGS = $(%C%_flags_avx512bf16)
%C%_libraries += $(%C%_x86_libraries)
endif
