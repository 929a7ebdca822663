# GLOW_FLAGS(VARIABLE, FLAGS): appends to VARIABLE each of the flags that the C compiler accepts
# without a word.
AC_DEFUN([GLOW_FLAGS],
[m4_foreach_w([glow_flag], [$2],
 [AS_VAR_PUSHDEF([glow_cache], [glow_cv_flag_]glow_flag)
  AC_CACHE_CHECK([whether $CC accepts ]glow_flag, [glow_cache],
  [glow_saved_CFLAGS=$CFLAGS
   CFLAGS="$CFLAGS -Werror glow_flag"
   AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
                     [AS_VAR_SET([glow_cache], [yes])], [AS_VAR_SET([glow_cache], [no])])
   CFLAGS=$glow_saved_CFLAGS])
  AS_VAR_IF([glow_cache], [yes], [AS_VAR_APPEND([$1], [" glow_flag"])])
  AS_VAR_POPDEF([glow_cache])])
 AC_SUBST([$1])])
