# GLOW_REQUIRE(VARIABLE, MODULE, DEBIAN PACKAGE)
# Finds a library with pkg-config. What is missing is collected in glow_missing, so that one
# message at the end (GLOW_REQUIRED) names every package that has to be installed.
AC_DEFUN([GLOW_REQUIRE],
[PKG_CHECK_MODULES([$1], [$2], [:], [AS_VAR_APPEND([glow_missing], [" $3"])])])

AC_DEFUN([GLOW_REQUIRED],
[AS_IF([test -n "$glow_missing"], [AC_MSG_ERROR([libraries are missing.
  On Debian or Ubuntu:  apt-get install$glow_missing
  (or run ./quickstart.sh, which installs what is needed)])])])
