/* EDSR; see edsr.c. */
#ifndef DUKD_EDSR_H
#define DUKD_EDSR_H

#include "models/model.h"

extern const dukd_model_type dukd_model_edsr;

#endif
