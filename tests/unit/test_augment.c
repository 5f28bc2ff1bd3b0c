/* D's normal form against operations applied one by one to a small array, as numpy does them: every element,
 * every pair, every sequence of up to four operations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "augment/dihedral.h"

/* An image of at most 4 x 4 whose pixels are all different, and which of its colours are inverted. */
typedef struct {
    int rows, cols, inverted;
    int pixel[4][4];
} image;

enum { FLIP_W, FLIP_H, ROT1, ROT2, ROT3, TRANSPOSE, INVERT, OPERATIONS };

static image numbered(int rows, int cols) {
    image x = {.rows = rows, .cols = cols};
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < cols; j++) x.pixel[i][j] = 10 * i + j;
    }
    return x;
}

/* One operation, by its definition: out[i][j] = in[..][..]. rot90(k, (H, W)) turns counter-clockwise. */
static image apply(const image *in, int operation) {
    image out = *in;
    const int h = in->rows, w = in->cols;
    if (operation == INVERT) {
        out.inverted = !in->inverted;
        return out;
    }
    if (operation == ROT1 || operation == ROT3 || operation == TRANSPOSE) {
        out.rows = w;
        out.cols = h;
    }
    for (int i = 0; i < out.rows; i++) {
        for (int j = 0; j < out.cols; j++) {
            switch (operation) {
            case FLIP_W:
                out.pixel[i][j] = in->pixel[i][w - 1 - j];
                break;
            case FLIP_H:
                out.pixel[i][j] = in->pixel[h - 1 - i][j];
                break;
            case ROT1:
                out.pixel[i][j] = in->pixel[j][w - 1 - i];
                break;
            case ROT2:
                out.pixel[i][j] = in->pixel[h - 1 - i][w - 1 - j];
                break;
            case ROT3:
                out.pixel[i][j] = in->pixel[h - 1 - j][i];
                break;
            default:
                out.pixel[i][j] = in->pixel[j][i];
            }
        }
    }
    return out;
}

/* The normal form, by its definition in dukd_plugin.h. */
static image apply_bits(const image *in, uint32_t d) {
    image x = *in;
    if ((d & DUKD_AUGMENT_FLIP_W) != 0) x = apply(&x, FLIP_W);
    if ((d & DUKD_AUGMENT_FLIP_H) != 0) x = apply(&x, FLIP_H);
    if ((d & DUKD_AUGMENT_TRANSPOSE) != 0) x = apply(&x, TRANSPOSE);
    if ((d & DUKD_AUGMENT_INVERT) != 0) x = apply(&x, INVERT);
    return x;
}

static uint32_t bits_of(int operation) {
    switch (operation) {
    case FLIP_W:
        return DUKD_AUGMENT_FLIP_W;
    case FLIP_H:
        return DUKD_AUGMENT_FLIP_H;
    case ROT1:
        return dukd_augment_turn(1);
    case ROT2:
        return dukd_augment_turn(2);
    case ROT3:
        return dukd_augment_turn(3);
    case TRANSPOSE:
        return DUKD_AUGMENT_TRANSPOSE;
    default:
        return DUKD_AUGMENT_INVERT;
    }
}

static void assert_same(const image *a, const image *b) {
    assert_int_equal(a->rows, b->rows);
    assert_int_equal(a->cols, b->cols);
    assert_int_equal(a->inverted, b->inverted);
    for (int i = 0; i < a->rows; i++) {
        for (int j = 0; j < a->cols; j++) assert_int_equal(a->pixel[i][j], b->pixel[i][j]);
    }
}

static void each_operation_has_its_normal_form(void **state) {
    (void)state;
    const int sizes[][2] = {{3, 3}, {2, 4}, {4, 3}, {1, 2}, {1, 1}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const image x = numbered(sizes[s][0], sizes[s][1]);
        for (int op = 0; op < OPERATIONS; op++) {
            const image literal = apply(&x, op), normal = apply_bits(&x, bits_of(op));
            assert_same(&literal, &normal);
        }
    }
    assert_int_equal(dukd_augment_turn(0), 0);
}

static void every_sequence_composes(void **state) {
    (void)state;
    const image x = numbered(3, 4);
    for (int code = 0; code < OPERATIONS * OPERATIONS * OPERATIONS * OPERATIONS; code++) {
        image literal = x;
        uint32_t d = 0;
        for (int rest = code, i = 0; i < 4; i++, rest /= OPERATIONS) {
            literal = apply(&literal, rest % OPERATIONS);
            d = dukd_augment_then(d, bits_of(rest % OPERATIONS));
        }
        const image normal = apply_bits(&x, d);
        assert_same(&literal, &normal);
        assert_true(d < 16);
    }
}

static void every_pair_composes_and_every_inverse_undoes(void **state) {
    (void)state;
    const image x = numbered(4, 3);
    for (uint32_t a = 0; a < 16; a++) {
        const image once = apply_bits(&x, a);
        const image back = apply_bits(&once, dukd_augment_inverse(a));
        assert_same(&back, &x);
        assert_int_equal(dukd_augment_then(a, dukd_augment_inverse(a)), 0);
        assert_int_equal(dukd_augment_then(dukd_augment_inverse(a), a), 0);
        for (uint32_t b = 0; b < 16; b++) {
            const image literal = apply_bits(&once, b), normal = apply_bits(&x, dukd_augment_then(a, b));
            assert_same(&literal, &normal);
        }
    }
}

/* The released code's D and D~: applying the operations again in the same order undoes them but where a
 * transpose meets exactly one flip. */
static void the_same_again_is_no_inverse_where_a_transpose_meets_one_flip(void **state) {
    (void)state;
    int undone = 0;
    for (uint32_t d = 0; d < 16; d++) {
        const int one_flip = ((d & DUKD_AUGMENT_FLIP_W) != 0) != ((d & DUKD_AUGMENT_FLIP_H) != 0);
        const int expected = (d & DUKD_AUGMENT_TRANSPOSE) == 0 || !one_flip;
        assert_int_equal(dukd_augment_then(d, d) == 0, expected);
        undone += expected;
    }
    assert_int_equal(undone, 12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_operation_has_its_normal_form),
        cmocka_unit_test(every_sequence_composes),
        cmocka_unit_test(every_pair_composes_and_every_inverse_undoes),
        cmocka_unit_test(the_same_again_is_no_inverse_where_a_transpose_meets_one_flip),
    };
    return cmocka_run_group_tests_name("augment", tests, NULL, NULL);
}
