/* The operations of ops_kernels.h for one type of element: T, with GET and PUT from and to vectors of f32, and NAME for
 * the functions' names. Included by ops_body.h once a type (no include guard). */
#include "engine/ops_type_channels.h"
#include "engine/ops_type_each.h"
#include "engine/ops_type_norm.h"
#include "engine/ops_type_pixels.h"
#if defined(VEC_PAIRS) && defined(T_BF16)
#include "engine/ops_pairs.h"
#else
#include "engine/ops_type_windows.h"
#endif

#ifndef ENTRIES
#define ENTRIES(type)                                                                                        \
    {                                                                                                        \
        .each = {[DUKD_EACH_LEAKY] = leaky_##type,     [DUKD_EACH_LEAKY_BACK] = leaky_back_##type,           \
                 [DUKD_EACH_GELU] = gelu_##type,       [DUKD_EACH_GELU_BACK] = gelu_back_##type,             \
                 [DUKD_EACH_SIGMOID] = sigmoid_##type, [DUKD_EACH_SIGMOID_BACK] = sigmoid_back_##type,       \
                 [DUKD_EACH_SCALE] = scale_##type},                                                          \
        .gelu_back_again = gelu_back_again_##type, .multiply = multiply_##type,                              \
        .map_channels = map_channels_##type, .sum_channels = sum_channels_##type,                            \
        .copy_channels = copy_channels_##type, .norm = norm_##type, .norm_back = norm_back_##type,           \
        .finish = finish_##type, .attention = attention_##type, .attention_back = attention_back_##type,     \
        .max_pool = max_pool_##type, .max_place = max_place_##type, .max_pool_back = max_pool_back_##type,   \
        .resize = resize_##type, .resize_back = resize_back_##type                                           \
    }
#endif
