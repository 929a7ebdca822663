/* image_softclip.cpp - the kernels of examples/softclip.c as an image for the stand-in. */
#include "image.h"
#include "../../examples/softclip.cu"
IMAGE_KERNEL(softclip_f32)
IMAGE_KERNEL(softclip_f64)
