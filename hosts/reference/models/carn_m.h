/* CARN_M; see carn_m.c. */
#ifndef DUKD_CARN_M_H
#define DUKD_CARN_M_H

#include "models/model.h"

extern const dukd_model_type dukd_model_carn_m;

#endif
