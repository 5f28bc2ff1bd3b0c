/* Window attention in double precision, one head of one window at a time. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/graph_ref_state.h"

typedef struct {
    const dukd_graph_ref *r;
    dukd_value v;
    const dukd_op *op;
    int32_t tokens, depth; /* of a window; channels of a head */
    int64_t rows, columns;
    int64_t *pixels; /* the window's tokens' places in the image, before it is rolled */
    int *side;       /* of each token: which sides of the seams it comes from */
    double *p;       /* tokens x tokens: the softmax */
} attention;

static attention begin(const dukd_graph_ref *r, dukd_value v) {
    const dukd_op *op = dukd_graph_op(r->g, v);
    attention a = {.r = r, .v = v, .op = op, .rows = r->sizes[v][0], .columns = r->sizes[v][1]};
    a.tokens = op->kernel * op->kernel;
    a.depth = op->channels / op->heads;
    a.pixels = calloc((size_t)a.tokens, sizeof *a.pixels);
    a.side = calloc((size_t)a.tokens, sizeof *a.side);
    a.p = dukd_ref_zeros((int64_t)a.tokens * a.tokens);
    assert_true(a.pixels && a.side);
    return a;
}

static void end(attention *a) {
    free(a->pixels);
    free(a->side);
    free(a->p);
}

/* Token t of the window at (y, x) of the rolled image shows the pixel `shift` further down and right, around the
 * edges. */
static void place(attention *a, int64_t y, int64_t x) {
    for (int32_t t = 0; t < a->tokens; t++) {
        int64_t row = y + t / a->op->kernel, column = x + t % a->op->kernel, shift = a->op->shift;
        a->pixels[t] = (row + shift) % a->rows * a->columns + (column + shift) % a->columns;
        a->side[t] = 2 * (row + shift >= a->rows) + (column + shift >= a->columns);
    }
}

/* Part 0, 1, 2: queries, keys, values; channel c of the head. */
static double *channel(const attention *a, double *qkv, int32_t n, int32_t part, int32_t head, int32_t c) {
    return dukd_ref_plane(a->r, qkv, a->op->in[0], n, part * a->op->channels + head * a->depth + c);
}

static int64_t bias_place(const attention *a, int32_t head, int32_t i, int32_t j) {
    int32_t w = a->op->kernel;
    int64_t dy = i / w - j / w + w - 1, dx = i % w - j % w + w - 1;
    return dukd_graph_param(a->r->g, a->op->weight)->offset + (dy * (2 * w - 1) + dx) * a->op->heads + head;
}

/* a->p = softmax(q k^T / sqrt(d) + B) of one head of the placed window. */
static void softmax(attention *a, int32_t n, int32_t head) {
    double *qkv = a->r->values[a->op->in[0]];
    for (int32_t i = 0; i < a->tokens; i++) {
        double *p = a->p + (int64_t)i * a->tokens, most = -INFINITY, sum = 0;
        for (int32_t j = 0; j < a->tokens; j++) {
            double dot = 0;
            for (int32_t c = 0; c < a->depth; c++)
                dot += channel(a, qkv, n, 0, head, c)[a->pixels[i]] *
                       channel(a, qkv, n, 1, head, c)[a->pixels[j]];
            p[j] = dot / sqrt(a->depth) + a->r->weights[bias_place(a, head, i, j)];
            if (a->op->shift > 0 && a->side[i] != a->side[j]) p[j] -= 100;
            most = fmax(most, p[j]);
        }
        for (int32_t j = 0; j < a->tokens; j++) sum += p[j] = exp(p[j] - most);
        for (int32_t j = 0; j < a->tokens; j++) p[j] /= sum;
    }
}

static void forward(attention *a, int32_t n, int32_t head) {
    double *qkv = a->r->values[a->op->in[0]];
    softmax(a, n, head);
    for (int32_t c = 0; c < a->depth; c++) {
        double *out = dukd_ref_plane(a->r, a->r->values[a->v], a->v, n, head * a->depth + c);
        const double *value = channel(a, qkv, n, 2, head, c);
        for (int32_t i = 0; i < a->tokens; i++) {
            double sum = 0;
            for (int32_t j = 0; j < a->tokens; j++)
                sum += a->p[(int64_t)i * a->tokens + j] * value[a->pixels[j]];
            out[a->pixels[i]] = sum;
        }
    }
}

/* dV = P^T dO; dP = dO V^T; dS = P (dP - sum_j P dP); dQ = dS K / sqrt(d); dK = dS^T Q / sqrt(d). */
static void backward(attention *a, int32_t n, int32_t head, double *const *grads, double *d_weights) {
    double *qkv = a->r->values[a->op->in[0]], *d_qkv = grads[a->op->in[0]];
    softmax(a, n, head);
    for (int32_t i = 0; i < a->tokens; i++) {
        double *p = a->p + (int64_t)i * a->tokens, along = 0;
        double *ds = dukd_ref_zeros(a->tokens);
        for (int32_t j = 0; j < a->tokens; j++) {
            for (int32_t c = 0; c < a->depth; c++) {
                double d = dukd_ref_plane(a->r, grads[a->v], a->v, n, head * a->depth + c)[a->pixels[i]];
                ds[j] += d * channel(a, qkv, n, 2, head, c)[a->pixels[j]];
                channel(a, d_qkv, n, 2, head, c)[a->pixels[j]] += p[j] * d;
            }
            along += p[j] * ds[j];
        }
        for (int32_t j = 0; j < a->tokens; j++) {
            ds[j] = p[j] * (ds[j] - along);
            d_weights[bias_place(a, head, i, j)] += ds[j];
            for (int32_t c = 0; c < a->depth; c++) {
                channel(a, d_qkv, n, 0, head, c)[a->pixels[i]] +=
                    ds[j] * channel(a, qkv, n, 1, head, c)[a->pixels[j]] / sqrt(a->depth);
                channel(a, d_qkv, n, 1, head, c)[a->pixels[j]] +=
                    ds[j] * channel(a, qkv, n, 0, head, c)[a->pixels[i]] / sqrt(a->depth);
            }
        }
        free(ds);
    }
}

static void every_window(const dukd_graph_ref *r, dukd_value v, double *const *grads, double *d_weights) {
    attention a = begin(r, v);
    for (int64_t y = 0; y < a.rows; y += a.op->kernel)
        for (int64_t x = 0; x < a.columns; x += a.op->kernel) {
            place(&a, y, x);
            for (int32_t n = 0; n < r->images; n++)
                for (int32_t head = 0; head < a.op->heads; head++)
                    if (grads)
                        backward(&a, n, head, grads, d_weights);
                    else
                        forward(&a, n, head);
        }
    end(&a);
}

void dukd_ref_attention(const dukd_graph_ref *r, dukd_value v) {
    every_window(r, v, NULL, NULL);
}
void dukd_ref_attention_back(const dukd_graph_ref *r, dukd_value v, double *const *grads, double *d_weights) {
    every_window(r, v, grads, d_weights);
}
