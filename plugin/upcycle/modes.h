/* The modes: each writes the recipe of its step. *r is empty before. */
#ifndef DUKD_MODES_H
#define DUKD_MODES_H

#include "recipe.h"

/* Zhang et al. 2023, the loss as the paper states it: one accumulated gradient, one optimizer step. */
void dukd_recipe_paper(dukd_recipe *r, const dukd_config *c);

/* The authors' released code (yun224/DUKD): official mode; BaseKD and SRModel are its first half. */
void dukd_recipe_official(dukd_recipe *r, const dukd_config *c);

#endif
