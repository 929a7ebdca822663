# GLOW_CUDA - finds what the CUDA backend is built from:
#   --with-cuda=auto|yes|no|DIR   DIR is a toolkit, or a pip wheel's nvidia/cu13
#   --with-cudnn=DIR              cuDNN with include/ and lib/, where the toolkit does not hold it
#   --with-cuda-archs=LIST        compute capabilities, such as "80 90"; those that nvcc does not know
#                                 are left out, and code for the newest is kept as PTX, too
# Sets NVCC, NVCC_GENCODE, CUDA_CPPFLAGS, CUDA_LDFLAGS, CUDA_LIBS, CUDA_ARCHS and the conditional CUDA;
# glow_cuda is yes or the list of what is missing.

# GLOW_CUDA_LIB(NAME, NUMBERS, HEADER, CALL, [OLDEST]) - wheels ship libNAME.so.NUMBER and no libNAME.so.
# CALL is new in the version OLDEST, which is said when something is missing.
AC_DEFUN([GLOW_CUDA_LIB],
[AC_MSG_CHECKING([for $3 and lib$1])
glow_found=
for glow_lib in -l$1 m4_foreach_w([glow_number], [$2], [-l:lib$1.so.glow_number ]); do
  AS_IF([test -z "$glow_found"],
        [LIBS="$glow_lib $CUDA_LIBS $glow_saved_LIBS"
         AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <$3>]], [[$4]])], [glow_found=$glow_lib])])
done
AC_MSG_RESULT([${glow_found:-no}])
AS_IF([test -n "$glow_found"], [CUDA_LIBS="$glow_found $CUDA_LIBS"],
      [glow_cuda_missing="$glow_cuda_missing lib$1[]m4_ifval([$5], [[]-of-CUDA-$5-or-newer])"])])

AC_DEFUN([GLOW_CUDA],
[AC_ARG_WITH([cuda], [AS_HELP_STRING([--with-cuda=auto|yes|no|DIR],
    [build the CUDA backend @<:@auto: when all of it is found@:>@])], [], [with_cuda=auto])
AC_ARG_WITH([cudnn], [AS_HELP_STRING([--with-cudnn=DIR],
    [cuDNN with include/ and lib/, when it is not in the toolkit])], [], [with_cudnn=])
AC_ARG_WITH([cuda-archs], [AS_HELP_STRING([--with-cuda-archs=LIST],
    [compute capabilities @<:@75 80 86 89 90 100 120@:>@])], [],
    [with_cuda_archs="75 80 86 89 90 100 120"])
AC_ARG_VAR([NVCC], [CUDA compiler])
AC_ARG_VAR([NVCCFLAGS], [flags for NVCC])
glow_cuda=no glow_cuda_missing= glow_cuda_lib= CUDA_ARCHS= CUDA_LIBS= NVCC_GENCODE=
AS_IF([test "x$with_cuda" != xno],
[AS_CASE([$with_cuda], [auto|yes], [glow_dirs="$CUDA_HOME $CUDA_PATH /usr/local/cuda /opt/cuda"],
         [glow_dirs=$with_cuda])
 glow_path=
 for glow_dir in $glow_dirs; do glow_path=$glow_path:$glow_dir/bin; done
 AC_PATH_PROG([NVCC], [nvcc], [], [${glow_path#:}:$PATH])
 AS_IF([test -z "$NVCC"], [glow_cuda_missing=" nvcc"],
 [AS_CASE([$with_cuda], [auto|yes], [glow_root=`dirname "$NVCC"`/..; glow_root=`cd "$glow_root" && pwd`],
          [glow_root=$with_cuda])
  for glow_dir in lib64 lib targets/$host_cpu-linux/lib; do
    AS_IF([test -z "$glow_cuda_lib" && ls "$glow_root/$glow_dir"/libcudart.so* >/dev/null 2>&1],
          [glow_cuda_lib=$glow_root/$glow_dir])
  done
  CUDA_CPPFLAGS="-isystem $glow_root/include"
  AS_IF([test -n "$glow_cuda_lib"], [CUDA_LDFLAGS="-L$glow_cuda_lib -Wl,-rpath,$glow_cuda_lib"])
  AS_IF([test -n "$with_cudnn"],
        [CUDA_CPPFLAGS="$CUDA_CPPFLAGS -isystem $with_cudnn/include"
         CUDA_LDFLAGS="$CUDA_LDFLAGS -L$with_cudnn/lib -Wl,-rpath,$with_cudnn/lib"])
  glow_saved_CPPFLAGS=$CPPFLAGS glow_saved_LDFLAGS=$LDFLAGS glow_saved_LIBS=$LIBS
  CPPFLAGS="$CPPFLAGS $CUDA_CPPFLAGS"
  LDFLAGS="$LDFLAGS $CUDA_LDFLAGS -Wl,--allow-shlib-undefined"
  GLOW_CUDA_LIB([cudart], [13 12], [cuda_runtime_api.h], [cudaLibrary_t l; return cudaLibraryLoadData(&l, 0, 0, 0, 0, 0, 0, 0);], [12.8])
  GLOW_CUDA_LIB([cublasLt], [13 12], [cublasLt.h], [cublasLtHandle_t h; return cublasLtCreate(&h);])
  GLOW_CUDA_LIB([cublas], [13 12], [cublas_v2.h], [cublasHandle_t h; return cublasCreate(&h);])
  GLOW_CUDA_LIB([cudnn], [9], [cudnn.h], [cudnnHandle_t h; return cudnnCreate(&h);])
  CPPFLAGS=$glow_saved_CPPFLAGS LDFLAGS=$glow_saved_LDFLAGS LIBS=$glow_saved_LIBS
  echo '__global__ void nothing(void) {}' > conftest.cu
  glow_newest=
  for glow_arch in $with_cuda_archs; do
    AC_MSG_CHECKING([whether nvcc builds for sm_$glow_arch])
    AS_IF([$NVCC -arch=sm_$glow_arch -cubin -o conftest.cubin conftest.cu >&AS_MESSAGE_LOG_FD 2>&1],
          [AC_MSG_RESULT([yes])
           CUDA_ARCHS="$CUDA_ARCHS${CUDA_ARCHS:+ }$glow_arch" glow_newest=$glow_arch
           NVCC_GENCODE="$NVCC_GENCODE -gencode arch=compute_$glow_arch,code=sm_$glow_arch"],
          [AC_MSG_RESULT([no])])
  done
  rm -f conftest.cu conftest.cubin
  AS_IF([test -n "$glow_newest"],
        [NVCC_GENCODE="$NVCC_GENCODE -gencode arch=compute_$glow_newest,code=compute_$glow_newest"],
        [glow_cuda_missing="$glow_cuda_missing an-nvcc-that-works"])])
 AS_IF([test -z "$glow_cuda_missing"], [glow_cuda=yes],
       [test "x$with_cuda" != xauto], [AC_MSG_ERROR([--with-cuda=$with_cuda: missing:$glow_cuda_missing])],
       [glow_cuda="no, missing:$glow_cuda_missing"])])
AC_SUBST([CUDA_CPPFLAGS])
AC_SUBST([CUDA_LDFLAGS])
AC_SUBST([CUDA_LIBS])
AC_SUBST([NVCC_GENCODE])
AM_CONDITIONAL([CUDA], [test "$glow_cuda" = yes])])
