/* Parameters of a plugin's own (dukd_ext_params.h), as the toy host keeps them: between canaries, filled with a pattern, and never
 * trained. */
#ifndef TOY_PARAMS_H
#define TOY_PARAMS_H

#include "conform.h"
#include "dukd_ext_params.h"

enum { TOY_MAX_PARAMS = 8, TOY_MAX_DIMS = 8 };

typedef struct {
    int64_t count;
    float *whole[2]; /* values, gradients, with canaries around */
    dukd_tensor tensor[2];
    int64_t shape[TOY_MAX_DIMS];
} toy_param;

typedef struct {
    const dukd_ext_params *ext; /* NULL: the plugin has none, or they were not asked for yet */
    const dukd_param_list *list;
    uint32_t n; /* 0: the session has no parameters */
    toy_param param[TOY_MAX_PARAMS];
    int bound;
} toy_params;

/* Asks the session which it has, and makes memory for them: a pattern. */
conform_result toy_params_find(conform *c, toy_params *p, dukd_session *s);
/* The same, and binds: with DUKD_BIND_INIT. Nothing where that was done. */
conform_result toy_params_open(conform *c, toy_params *p, dukd_session *s);
/* bind with these flags. */
int32_t toy_params_bind(toy_params *p, dukd_session *s, uint32_t flags, dukd_error *e);
void toy_params_free(toy_params *p);

float *toy_param_values(toy_params *p, uint32_t i); /* [count] */
float *toy_param_grads(toy_params *p, uint32_t i);
void toy_params_clear(toy_params *p, float value);  /* all gradients */
uint64_t toy_params_hash(toy_params *p, int grads); /* of all values, or all gradients */
int64_t toy_params_unwritten(toy_params *p);        /* elements of values that hold the pattern */
int toy_params_spilled(const toy_params *p);        /* memory beside them was written */

#endif
