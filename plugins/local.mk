# plugins/ - every layer, net, prior and dataset is a module of its own. It sees the public header and
# nothing else of the tree, exports one symbol and links libm at most; datasets add their codecs.
PLUGIN_CPPFLAGS = -I$(top_srcdir)/core/include
PLUGIN_LINK = -module -avoid-version -shared -no-undefined $(NO_UNDEFINED_LDFLAGS) \
	-export-symbols-regex '^glow_plugin_v1$$'

layersexecdir = $(pkglibdir)/layers
layersexec_LTLIBRARIES =

netsexecdir = $(pkglibdir)/nets
netsexec_LTLIBRARIES =

priorsexecdir = $(pkglibdir)/priors
priorsexec_LTLIBRARIES =

datasetsexecdir = $(pkglibdir)/datasets
datasetsexec_LTLIBRARIES =

