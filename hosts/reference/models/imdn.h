/* IMDN; see imdn.c. */
#ifndef DUKD_IMDN_H
#define DUKD_IMDN_H

#include "models/model.h"

extern const dukd_model_type dukd_model_imdn;

#endif
