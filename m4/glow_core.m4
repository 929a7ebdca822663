# A configure script removes core dumps, `rm -f core ...`, after each of its checks. In this tree core
# is a directory, and each of them would complain. Included before AC_INIT: takes the word out.
m4_define([GLOW_KEEP_CORE],
[m4_define([$1], m4_bpatsubst(m4_dquote(m4_defn([$1])), [rm -f core ], [rm -f ]))])
GLOW_KEEP_CORE([_AC_INIT_PREPARE])
GLOW_KEEP_CORE([_AC_COMPILE_IFELSE])
GLOW_KEEP_CORE([_AC_LINK_IFELSE])
GLOW_KEEP_CORE([_AC_RUN_IFELSE])
