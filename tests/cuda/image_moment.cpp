/* image_moment.cpp - the kernels of tests/plugins/moment.c as an image for the stand-in. */
#include "image.h"
#include "moment.cu"
IMAGE_KERNEL(moment_f32)
IMAGE_KERNEL(moment_f64)
IMAGE_KERNEL(moment_narrow)
