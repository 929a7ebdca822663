# plugins/ - every layer, net, prior and dataset is a module of its own. It sees the public header and
# nothing else of the tree, exports one symbol and links libm at most; datasets add their codecs.
PLUGIN_CPPFLAGS = -I$(top_srcdir)/core/include
PLUGIN_LINK = -module -avoid-version -shared -no-undefined $(NO_UNDEFINED_LDFLAGS) \
	-export-symbols-regex '^glow_plugin_v1$$'

layersexecdir = $(pkglibdir)/layers
layersexec_LTLIBRARIES = \
	%D%/layers/actnorm.la \
	%D%/layers/additive.la \
	%D%/layers/affine.la \
	%D%/layers/factor_out.la \
	%D%/layers/invconv.la \
	%D%/layers/logit.la \
	%D%/layers/permute.la \
	%D%/layers/quantize.la \
	%D%/layers/squeeze.la

netsexecdir = $(pkglibdir)/nets
netsexec_LTLIBRARIES = \
	%D%/nets/mlp.la \
	%D%/nets/openai.la \
	%D%/nets/resnet.la

priorsexecdir = $(pkglibdir)/priors
priorsexec_LTLIBRARIES = \
	%D%/priors/learned.la \
	%D%/priors/normal.la

datasetsexecdir = $(pkglibdir)/datasets
datasetsexec_LTLIBRARIES = \
	%D%/datasets/celeba.la \
	%D%/datasets/glyphs.la \
	%D%/datasets/idx.la \
	%D%/datasets/images.la \
	%D%/datasets/npy.la \
	%D%/datasets/toy2d.la

# What data sets share is linked into each: messages, files and resizing; image files and the cache.
noinst_LTLIBRARIES += %D%/datasets/libdataset.la %D%/datasets/libimage.la
%C%_datasets_libdataset_la_SOURCES = %D%/datasets/dataset.c %D%/datasets/resize.c
%C%_datasets_libdataset_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_datasets_libimage_la_SOURCES = %D%/datasets/cache.c %D%/datasets/image.c
%C%_datasets_libimage_la_CPPFLAGS = $(PLUGIN_CPPFLAGS) $(SPNG_CFLAGS) $(TURBOJPEG_CFLAGS) $(ZLIB_CFLAGS)
noinst_HEADERS += %D%/datasets/cache.h %D%/datasets/dataset.h %D%/datasets/image.h
DATASET_LIBS = %D%/datasets/libdataset.la
IMAGE_LIBS = %D%/datasets/libimage.la $(DATASET_LIBS) $(SPNG_LIBS) $(TURBOJPEG_LIBS) $(ZLIB_LIBS)

%C%_layers_actnorm_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_layers_actnorm_la_LDFLAGS = $(PLUGIN_LINK)
%C%_layers_additive_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_layers_additive_la_LDFLAGS = $(PLUGIN_LINK)
%C%_layers_affine_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_layers_affine_la_LDFLAGS = $(PLUGIN_LINK)
%C%_layers_factor_out_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_layers_factor_out_la_LDFLAGS = $(PLUGIN_LINK)
%C%_layers_invconv_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_layers_invconv_la_LDFLAGS = $(PLUGIN_LINK)
%C%_layers_logit_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_layers_logit_la_LDFLAGS = $(PLUGIN_LINK)
%C%_layers_permute_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_layers_permute_la_LDFLAGS = $(PLUGIN_LINK)
%C%_layers_quantize_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_layers_quantize_la_LDFLAGS = $(PLUGIN_LINK)
%C%_layers_squeeze_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_layers_squeeze_la_LDFLAGS = $(PLUGIN_LINK)
%C%_nets_mlp_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_nets_mlp_la_LDFLAGS = $(PLUGIN_LINK)
%C%_nets_openai_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_nets_openai_la_LDFLAGS = $(PLUGIN_LINK)
%C%_nets_resnet_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_nets_resnet_la_LDFLAGS = $(PLUGIN_LINK)
%C%_priors_learned_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_priors_learned_la_LDFLAGS = $(PLUGIN_LINK)
%C%_priors_normal_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_priors_normal_la_LDFLAGS = $(PLUGIN_LINK)

%C%_datasets_celeba_la_CPPFLAGS = $(PLUGIN_CPPFLAGS) $(ZIP_CFLAGS)
%C%_datasets_celeba_la_LDFLAGS = $(PLUGIN_LINK)
%C%_datasets_celeba_la_LIBADD = $(IMAGE_LIBS) $(ZIP_LIBS)
%C%_datasets_glyphs_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_datasets_glyphs_la_LDFLAGS = $(PLUGIN_LINK)
%C%_datasets_glyphs_la_LIBADD = $(DATASET_LIBS)
%C%_datasets_idx_la_CPPFLAGS = $(PLUGIN_CPPFLAGS) $(ZLIB_CFLAGS)
%C%_datasets_idx_la_LDFLAGS = $(PLUGIN_LINK)
%C%_datasets_idx_la_LIBADD = $(DATASET_LIBS) $(ZLIB_LIBS)
%C%_datasets_images_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_datasets_images_la_LDFLAGS = $(PLUGIN_LINK)
%C%_datasets_images_la_LIBADD = $(IMAGE_LIBS)
%C%_datasets_npy_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_datasets_npy_la_LDFLAGS = $(PLUGIN_LINK)
%C%_datasets_npy_la_LIBADD = $(DATASET_LIBS)
%C%_datasets_toy2d_la_CPPFLAGS = $(PLUGIN_CPPFLAGS)
%C%_datasets_toy2d_la_LDFLAGS = $(PLUGIN_LINK)
%C%_datasets_toy2d_la_LIBADD = $(DATASET_LIBS)
