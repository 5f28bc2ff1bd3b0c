/* Reading a dukd_tensor into a view. */
#include "cpu_view.h"

static dukd_element element_of(dukd_dtype dtype) {
    if (dtype.bits == 32) return DUKD_ELEMENT_F32;
    return dtype.code == DUKD_TYPE_FLOAT ? DUKD_ELEMENT_F16 : DUKD_ELEMENT_BF16;
}

dukd_view dukd_view_of(const dukd_tensor *t) {
    if (t == NULL) return (dukd_view){0};
    dukd_view v = {
        .data = (char *)t->data + t->byte_offset,
        .n = t->shape[0],
        .c = t->shape[1],
        .h = t->shape[2],
        .w = t->shape[3],
        .type = element_of(t->dtype),
    };
    if (t->strides != NULL) {
        v.n_stride = t->strides[0];
        v.c_stride = t->strides[1];
        v.h_stride = t->strides[2];
        v.w_stride = t->strides[3];
    } else {
        v.w_stride = 1;
        v.h_stride = v.w;
        v.c_stride = v.w * v.h;
        v.n_stride = v.w * v.h * v.c;
    }
    return v;
}
