/* VGG19's convolutions: see vgg19.c. */
#ifndef DUKD_VGG19_H
#define DUKD_VGG19_H

#include "models/model.h"

extern const dukd_model_type dukd_model_vgg19;

#endif
