/* The stack machine that reads a pickle: internal to pickle*.c. Functions return 0 after dukd_pickle_wrong has told why. */
#ifndef DUKD_PICKLE_MACHINE_H
#define DUKD_PICKLE_MACHINE_H

#include <stdbool.h>

#include "tensors/pickle.h"

struct dukd_pickle {
    dukd_py_value *values;
    uint32_t count, room;
    dukd_py root;
};

typedef struct {
    dukd_pickle *p;
    const unsigned char *start, *at, *end;
    size_t place;
    dukd_py *stack;
    uint32_t depth, room;
    uint32_t *marks; /* depths of the stack at which a mark lies */
    uint32_t mark_count, mark_room;
    dukd_py *memo;
    uint32_t memo_count, memo_room;
    uint32_t steps;
    const char *path;
    dukd_failure *f;
} dukd_machine;

#define DUKD_PY_UNSET UINT32_MAX

bool dukd_pickle_wrong(dukd_machine *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool dukd_pickle_push(dukd_machine *m, dukd_py value);
/* A new value, pushed. */
bool dukd_pickle_make(dukd_machine *m, dukd_py_value value);
/* The topmost value, taken off; never one below the last mark. */
bool dukd_pickle_pop(dukd_machine *m, dukd_py *value);
/* Adds n values to a list, tuple or dictionary. */
bool dukd_pickle_extend(dukd_machine *m, dukd_py to, const dukd_py *from, uint32_t n);
dukd_py_value *dukd_pickle_value(dukd_machine *m, dukd_py i);

/* ---- what a pickle may ask of Python (pickle_torch.c) ---- */

/* GLOBAL: refers to MODULE.NAME, or refuses it by name. */
bool dukd_pickle_global(dukd_machine *m, dukd_py_text module, dukd_py_text name);
bool dukd_pickle_reduce(dukd_machine *m); /* callable, tuple -> what it gives */
bool dukd_pickle_build(
    dukd_machine *m); /* object, state -> object: the attributes of an OrderedDict, left out */
bool dukd_pickle_persistent(dukd_machine *m); /* tuple -> storage */

#endif
