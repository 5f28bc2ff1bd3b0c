/* RCAN; see rcan.c. */
#ifndef DUKD_RCAN_H
#define DUKD_RCAN_H

#include "models/model.h"

extern const dukd_model_type dukd_model_rcan;

#endif
