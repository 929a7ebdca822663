# tests/cuda/ - the CUDA backend on the CPU: its kernels on an emulator, CUDA's libraries replaced by a
# stand-in. glow-cuda.so and libcuda.so.1 of this directory are found through GLOW_BACKEND_PATH and
# LD_LIBRARY_PATH, which tests/cuda/*.sh set; nothing of it is installed.
if HAVE_CXX
check_LTLIBRARIES += %D%/libbackend.la %D%/glow-cuda.la %D%/libcuda.la
standin_CPPFLAGS = $(AM_CPPFLAGS) -DCUDA_EMULATOR=1 -I$(srcdir)/%D%/include -I$(srcdir)/%D%
%C%_libbackend_la_SOURCES = $(cuda_sources)
%C%_libbackend_la_CPPFLAGS = $(standin_CPPFLAGS)
%C%_glow_cuda_la_SOURCES = \
	%D%/emulator.cpp \
	%D%/emulator.h \
	%D%/include/cublasLt.h \
	%D%/include/cublas_v2.h \
	%D%/include/cuda_runtime_api.h \
	%D%/image.h \
	%D%/include/cudnn.h \
	%D%/kernels_chain.cpp \
	%D%/kernels_chain_weights.cpp \
	%D%/kernels_elementwise.cpp \
	%D%/kernels_fused.cpp \
	%D%/kernels_gemm.cpp \
	%D%/kernels_layout.cpp \
	%D%/kernels_linalg.cpp \
	%D%/kernels_random.cpp \
	%D%/kernels_reduce.cpp \
	%D%/kernels_update.cpp \
	%D%/standin.cpp \
	%D%/standin.h \
	%D%/standin_blas.cpp \
	%D%/standin_dnn.cpp \
	%D%/standin_library.cpp
%C%_glow_cuda_la_CPPFLAGS = $(standin_CPPFLAGS)
%C%_glow_cuda_la_CXXFLAGS = -std=gnu++17 -Wall -Wextra -Wno-missing-field-initializers \
	$(VISIBILITY_CFLAGS) $(SANITIZER_CFLAGS) -O2 -ffp-contract=off
%C%_glow_cuda_la_LDFLAGS = $(backend_module_flags) -module -rpath $(abs_builddir)/%D%
%C%_glow_cuda_la_LIBADD = %D%/libbackend.la -lm
%C%_libcuda_la_SOURCES = %D%/driver.c
%C%_libcuda_la_CFLAGS = $(AM_CFLAGS) -fvisibility=default
%C%_libcuda_la_LDFLAGS = -version-info 1:0:0 -rpath $(abs_builddir)/%D%
# Device code of plug-ins, for the stand-in: bytes that images.sh embeds.
check_LTLIBRARIES += %D%/image_moment.la %D%/image_softclip.la
image_CXXFLAGS = $(%C%_glow_cuda_la_CXXFLAGS) -I$(srcdir)/%D%/include -DCUDA_EMULATOR=1
image_LDFLAGS = -module -avoid-version -shared -rpath $(abs_builddir)/%D%
%C%_image_moment_la_SOURCES = %D%/image_moment.cpp
%C%_image_moment_la_CXXFLAGS = $(image_CXXFLAGS)
%C%_image_moment_la_LDFLAGS = -module $(image_LDFLAGS)
%C%_image_softclip_la_SOURCES = %D%/image_softclip.cpp
%C%_image_softclip_la_CXXFLAGS = $(image_CXXFLAGS)
%C%_image_softclip_la_LDFLAGS = -module $(image_LDFLAGS)
# NVRTC, where LD_LIBRARY_PATH does not lead unless a test wants it: it takes a second for each chain.
check_LTLIBRARIES += %D%/nvrtc/libnvrtc-standin.la
%C%_nvrtc_libnvrtc_standin_la_SOURCES = %D%/standin_nvrtc.cpp
%C%_nvrtc_libnvrtc_standin_la_CPPFLAGS = $(AM_CPPFLAGS) -DSTANDIN_CXX='"$(CXX)"' \
	-DSTANDIN_INCLUDE='"-I$(abs_srcdir)/%D% -I$(abs_srcdir)/%D%/include"'
%C%_nvrtc_libnvrtc_standin_la_CXXFLAGS = -std=gnu++17 -Wall -Wextra $(SANITIZER_CFLAGS) -O1
%C%_nvrtc_libnvrtc_standin_la_LDFLAGS = -version-info 13:0:0 -rpath $(abs_builddir)/%D%/nvrtc
EXTRA_PROGRAMS += %D%/test_cuda
check_DATA += %D%/test_cuda$(EXEEXT)
CLEANFILES += %D%/test_cuda$(EXEEXT)
%C%_test_cuda_LDADD = $(engine_LIBS)
endif
# The longest first: with few processors the whole takes less long so.
cuda_tests = %D%/products.sh %D%/engine.sh %D%/images.sh %D%/plugins.sh %D%/gpu_run.sh %D%/kernels.sh \
	%D%/nvrtc.sh %D%/missing.sh
# The programs that these run.
cuda_programs = \
	tests/test_bf16$(EXEEXT) \
	tests/test_checkpoint$(EXEEXT) \
	tests/test_flow$(EXEEXT) \
	tests/test_graph$(EXEEXT) \
	tests/test_kernels$(EXEEXT) \
	tests/test_operations$(EXEEXT) \
	tests/test_products$(EXEEXT) \
	tests/test_program$(EXEEXT) \
	tests/test_rewrite$(EXEEXT) \
	tests/test_train$(EXEEXT) \
	tests/test_types$(EXEEXT) \
	$(filter tests/layers/%,$(check_PROGRAMS)) \
	$(filter tests/nets/%,$(check_PROGRAMS)) \
	$(filter tests/priors/%,$(check_PROGRAMS))
TESTS += $(cuda_tests)
dist_check_SCRIPTS += $(cuda_tests)
EXTRA_DIST += %D%/common.sh %D%/gpu_compare.py %D%/moment.cu
# For a machine with a GPU; see its first lines.
dist_check_SCRIPTS += tests/gpu-run.sh
EXTRA_DIST += %D%/compare.cfg
