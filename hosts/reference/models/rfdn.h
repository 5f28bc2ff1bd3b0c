/* RFDN; see rfdn.c. */
#ifndef DUKD_RFDN_H
#define DUKD_RFDN_H

#include "models/model.h"

extern const dukd_model_type dukd_model_rfdn;

#endif
