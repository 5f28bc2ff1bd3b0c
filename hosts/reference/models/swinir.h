/* SwinIR; see swinir.c. */
#ifndef DUKD_SWINIR_H
#define DUKD_SWINIR_H

#include "models/model.h"

extern const dukd_model_type dukd_model_swinir;

#endif
