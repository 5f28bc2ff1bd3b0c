/* What a pickle may ask of Python: the few names by which PyTorch puts tensors together. */
#include <stdio.h>
#include <string.h>

#include "tensors/pickle_machine.h"

static const struct {
    const char *module, *name;
    int32_t is;
} names[] = {
    {"collections", "OrderedDict", DUKD_PY_ORDERED_DICT},
    {"torch._utils", "_rebuild_tensor", DUKD_PY_REBUILD_TENSOR},
    {"torch._utils", "_rebuild_tensor_v2", DUKD_PY_REBUILD_TENSOR_V2},
    {"torch._utils", "_rebuild_parameter", DUKD_PY_REBUILD_PARAMETER},
    {"torch", "FloatStorage", DUKD_PY_STORAGE_NAME + DUKD_ST_F32},
    {"torch", "HalfStorage", DUKD_PY_STORAGE_NAME + DUKD_ST_F16},
    {"torch", "BFloat16Storage", DUKD_PY_STORAGE_NAME + DUKD_ST_BF16},
    {"torch", "DoubleStorage", DUKD_PY_STORAGE_NAME + DUKD_ST_F64},
    {"torch", "LongStorage", DUKD_PY_STORAGE_NAME + DUKD_ST_I64},
    {"torch", "IntStorage", DUKD_PY_STORAGE_NAME + DUKD_ST_I32},
    {"torch", "ShortStorage", DUKD_PY_STORAGE_NAME + DUKD_ST_I16},
    {"torch", "CharStorage", DUKD_PY_STORAGE_NAME + DUKD_ST_I8},
    {"torch", "ByteStorage", DUKD_PY_STORAGE_NAME + DUKD_ST_U8},
    {"torch", "BoolStorage", DUKD_PY_STORAGE_NAME + DUKD_ST_BOOL},
};

static bool same(dukd_py_text t, const char *text) {
    return t.size == strlen(text) && memcmp(t.at, text, t.size) == 0;
}

/* At most 60 bytes of a name, what cannot be printed replaced. */
typedef struct {
    char text[61];
} printable;
static printable show(dukd_py_text t) {
    printable p;
    size_t n = t.size < sizeof p.text - 1 ? t.size : sizeof p.text - 1;
    for (size_t i = 0; i < n; i++) p.text[i] = t.at[i] > 0x20 && t.at[i] < 0x7F ? (char)t.at[i] : '?';
    p.text[n] = '\0';
    return p;
}

bool dukd_pickle_global(dukd_machine *m, dukd_py_text module, dukd_py_text name) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (same(module, names[i].module) && same(name, names[i].name))
            return dukd_pickle_make(m, (dukd_py_value){.kind = DUKD_PY_NAME, .is.integer = names[i].is});
    dukd_fail(
        m->f, DUKD_FAILED,
        "%s: the file wants to call %s.%s (at byte %zu of it): only tensors are read, and nothing has been "
        "run. "
        "If you trust the file, save its state_dict alone with Python: torch.save(net.state_dict(), FILE)",
        m->path, show(module).text, show(name).text, m->place + (size_t)(m->at - m->start));
    return false;
}

static bool is_kind(dukd_machine *m, dukd_py i, dukd_py_kind kind) {
    return dukd_pickle_value(m, i)->kind == kind;
}

static bool is_integers(dukd_machine *m, dukd_py i) {
    const dukd_py_value *v = dukd_pickle_value(m, i);
    if (v->kind != DUKD_PY_TUPLE || v->is.items.count > DUKD_ST_MAX_DIMS) return false;
    for (uint32_t k = 0; k < v->is.items.count; k++)
        if (!is_kind(m, v->is.items.at[k], DUKD_PY_INT)) return false;
    return true;
}

/* storage, offset, size, stride, and what only training needs: requires_grad, hooks, metadata. */
static bool make_tensor(dukd_machine *m, const dukd_py *args, uint32_t count, uint32_t least) {
    if (count < least || count > least + 1 || !is_kind(m, args[0], DUKD_PY_STORAGE) ||
        !is_kind(m, args[1], DUKD_PY_INT) || !is_integers(m, args[2]) || !is_integers(m, args[3]) ||
        dukd_pickle_value(m, args[2])->is.items.count != dukd_pickle_value(m, args[3])->is.items.count)
        return dukd_pickle_wrong(
            m,
            "a tensor is not put together from a storage, an offset, at most %d sizes and as "
            "many strides",
            DUKD_ST_MAX_DIMS);
    return dukd_pickle_make(m, (dukd_py_value){.kind = DUKD_PY_TENSOR,
                                               .is.tensor = {args[0], args[2], args[3],
                                                             dukd_pickle_value(m, args[1])->is.integer}});
}

/* OrderedDict(), or Python 2's OrderedDict([[key, value], ...]). */
static bool make_dict(dukd_machine *m, const dukd_py *args, uint32_t count) {
    if (!dukd_pickle_make(m, (dukd_py_value){.kind = DUKD_PY_DICT, .ordered = 1})) return false;
    if (count == 0) return true;
    const dukd_py made = m->stack[m->depth - 1];
    if (count > 1 || !is_kind(m, args[0], DUKD_PY_LIST))
        return dukd_pickle_wrong(m, "an OrderedDict is not made of a list of pairs");
    for (uint32_t i = 0; i < dukd_pickle_value(m, args[0])->is.items.count; i++) {
        const dukd_py_value *pair = dukd_pickle_value(m, dukd_pickle_value(m, args[0])->is.items.at[i]);
        if ((pair->kind != DUKD_PY_LIST && pair->kind != DUKD_PY_TUPLE) || pair->is.items.count != 2)
            return dukd_pickle_wrong(m, "an OrderedDict is not made of a list of pairs");
        if (++m->steps > DUKD_PICKLE_MAX_STEPS)
            return dukd_pickle_wrong(m, "it makes more than %d values", DUKD_PICKLE_MAX_STEPS);
        if (!dukd_pickle_extend(m, made, pair->is.items.at, 2)) return false;
    }
    return true;
}

bool dukd_pickle_reduce(dukd_machine *m) {
    dukd_py tuple, callable;
    if (!dukd_pickle_pop(m, &tuple) || !dukd_pickle_pop(m, &callable)) return false;
    if (!is_kind(m, callable, DUKD_PY_NAME) || !is_kind(m, tuple, DUKD_PY_TUPLE))
        return dukd_pickle_wrong(m, "it calls what is no function");
    const dukd_py *args =
        dukd_pickle_value(m, tuple)->is.items.at; /* stays where it is: tuples do not grow */
    const uint32_t count = dukd_pickle_value(m, tuple)->is.items.count;
    switch (dukd_pickle_value(m, callable)->is.integer) {
    case DUKD_PY_ORDERED_DICT:
        return make_dict(m, args, count);
    case DUKD_PY_REBUILD_TENSOR:
        return make_tensor(m, args, count, 4);
    case DUKD_PY_REBUILD_TENSOR_V2:
        return make_tensor(m, args, count, 6);
    case DUKD_PY_REBUILD_PARAMETER:
        if (count == 3 && is_kind(m, args[0], DUKD_PY_TENSOR)) return dukd_pickle_push(m, args[0]);
        return dukd_pickle_wrong(m, "a parameter is not made of a tensor");
    default:
        return dukd_pickle_wrong(m, "it calls a type of storage");
    }
}

bool dukd_pickle_build(dukd_machine *m) {
    dukd_py state, object;
    if (!dukd_pickle_pop(m, &state) || !dukd_pickle_pop(m, &object)) return false;
    if (!is_kind(m, object, DUKD_PY_DICT) || !dukd_pickle_value(m, object)->ordered)
        return dukd_pickle_wrong(m, "it sets the attributes of what is no OrderedDict");
    return dukd_pickle_push(m, object);
}

/* ("storage", type, key, device, count) and, before 1.6, a view, which has long been None. */
bool dukd_pickle_persistent(dukd_machine *m) {
    dukd_py tuple;
    if (!dukd_pickle_pop(m, &tuple)) return false;
    const dukd_py_value *t = dukd_pickle_value(m, tuple);
    const uint32_t count = t->kind == DUKD_PY_TUPLE ? t->is.items.count : 0;
    const dukd_py *args = t->is.items.at;
    if (count < 5 || count > 6 || !dukd_pickle_is_text(m->p, args[0], "storage") ||
        !is_kind(m, args[1], DUKD_PY_NAME) || !is_kind(m, args[2], DUKD_PY_TEXT) ||
        !is_kind(m, args[3], DUKD_PY_TEXT) || !is_kind(m, args[4], DUKD_PY_INT) ||
        dukd_pickle_value(m, args[1])->is.integer < DUKD_PY_STORAGE_NAME ||
        dukd_pickle_value(m, args[4])->is.integer < 0)
        return dukd_pickle_wrong(m, "a reference names no storage");
    if (count == 6 && !is_kind(m, args[5], DUKD_PY_NONE))
        return dukd_pickle_wrong(m, "it has a view of a storage, which PyTorch has not written since 0.4");
    return dukd_pickle_make(
        m, (dukd_py_value){.kind = DUKD_PY_STORAGE,
                           .is.storage = {(dukd_st_type)(dukd_pickle_value(m, args[1])->is.integer -
                                                         DUKD_PY_STORAGE_NAME),
                                          args[2], dukd_pickle_value(m, args[4])->is.integer}});
}
