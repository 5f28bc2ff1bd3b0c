/* Part of ops_types.h: window attention on bf16 by products of pairs (VEC_PAIRS), instead of ops_type_windows.h. Queries, keys,
 * values and the output's gradient go into the products as they are; the softmax's output and its gradient are rounded to bf16
 * first. Every sum, the softmax and the table's gradient are in f32.
 *
 * The scores are held as there, s[j][i], keys in rows and queries along the vectors. What has few channels is never along the
 * vectors of the larger products: their results are held by channels and transposed in pairs on their way to the tensor. */

/* Matrices of one head of one window; `halves`: pairs of channels of a row, `row`: channels of a row, both whole vectors. */
typedef struct {
    int64_t halves, row, pairs;   /* pairs: of keys */
    float *k, *v;                 /* tokens x halves: pairs of channels */
    float *k2, *v2;               /* pairs x row: pairs of keys */
    float *q_columns, *d_columns; /* halves x block: pairs of channels */
    float *q2, *d2;               /* block / 2 x row: pairs of queries */
    float *s2;                    /* pairs x block: pairs of keys, of the softmax or its gradient */
    float *p_rows, *ds_rows;      /* tokens x block / 2: pairs of queries */
    float *o;                     /* row x block, f32 */
    float *dk, *dv;               /* tokens x row, f32 */
    float *s, *ds;                /* tokens x block, f32 */
    float *inverse, *regions;     /* block, f32 */
} pair_scratch;

/* Divides `scratch` up; head_floats in ops_windows.c counts the same. */
static pair_scratch pair_scratch_of(float *scratch, const dukd_attention_job *j) {
    int64_t d = j->channels / j->heads;
    pair_scratch h = {
        .halves = (d + 31) / 32 * 16, .row = (d + 15) / 16 * 16, .pairs = ((int64_t)j->tokens + 1) / 2};
    struct {
        float **place;
        int64_t rows, row;
    } const parts[] = {{&h.k, j->tokens, h.halves},
                       {&h.v, j->tokens, h.halves},
                       {&h.k2, h.pairs, h.row},
                       {&h.v2, h.pairs, h.row},
                       {&h.q_columns, h.halves, ROW},
                       {&h.d_columns, h.halves, ROW},
                       {&h.q2, ROW / 2, h.row},
                       {&h.d2, ROW / 2, h.row},
                       {&h.s2, h.pairs, ROW},
                       {&h.p_rows, j->tokens, ROW / 2},
                       {&h.ds_rows, j->tokens, ROW / 2},
                       {&h.o, h.row, ROW},
                       {&h.dk, j->tokens, h.row},
                       {&h.dv, j->tokens, h.row},
                       {&h.s, j->tokens, ROW},
                       {&h.ds, j->tokens, ROW},
                       {&h.inverse, 1, ROW},
                       {&h.regions, 1, ROW}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i].place = scratch;
        scratch += parts[i].rows * parts[i].row;
    }
    return h;
}

/* d channels of some pixels of a tensor. */
typedef struct {
    uint16_t *first; /* of the tensor's first pixel */
    int64_t channels, d;
    const int64_t *pixel;
    int64_t count;
} strip;

static strip strip_of(const void *tensor, int64_t channels, int64_t channel, int64_t d, const int64_t *pixel,
                      int64_t count) {
    return (strip){(uint16_t *)(uintptr_t)tensor + channel, channels, d, pixel, count};
}

/* Pairs of channels, one pixel a row. */
static void take_pair_rows(float *rows, int64_t row, strip x) {
    for (int64_t c = 0; c < x.d; c += 2 * LANES)
        for (int64_t t = 0; t < x.count; t++)
            vec_store(rows + t * row + c / 2, vec_get_row(x.first + c + x.pixel[t] * x.channels, x.d - c));
}

/* Pairs of channels, one pixel a column of rows of ROW; columns up to whole vectors are zeros. */
static void take_pair_columns(float *columns, strip x) {
    for (int64_t c = 0; c < x.d; c += 2 * LANES)
        for (int64_t t = 0; t < x.count; t += LANES) {
            vec v[LANES];
            for (int i = 0; i < LANES; i++)
                v[i] = t + i < x.count ? vec_get_row(x.first + c + x.pixel[t + i] * x.channels, x.d - c)
                                       : vec_set(0);
            vec_transpose(v);
            for (int i = 0; i < LANES; i++)
                if (c + 2 * i < x.d) vec_store(columns + (c / 2 + i) * ROW + t, v[i]);
        }
}

/* Pairs of neighbouring pixels, one channel a column; the last of an odd number is paired with zeros. */
static void take_pixel_pairs(float *rows, int64_t row, strip x) {
    for (int64_t c = 0; c < x.d; c += LANES)
        for (int64_t t = 0; t < x.count; t += 2) {
            const uint16_t *from = x.first + c;
            vec a = vec_get_bf16(from + x.pixel[t] * x.channels, x.d - c);
            vec b = t + 1 < x.count ? vec_get_bf16(from + x.pixel[t + 1] * x.channels, x.d - c) : vec_set(0);
            vec_store(rows + t / 2 * row + c, vec_zip(a, b));
        }
}

/* columns[channel][pixel] times `factor` and, where not NULL, one factor for each pixel, to the tensor. */
static void give_columns(strip o, const float *columns, float factor, const float *factors) {
    for (int64_t t = 0; t < o.count; t += LANES) {
        vec f = factors ? vec_mul(vec_load(factors + t), vec_set(factor)) : vec_set(factor);
        for (int64_t c = 0; c < o.d; c += 2 * LANES) {
            vec v[LANES];
            for (int i = 0; i < LANES; i++) {
                int64_t at = c + 2 * i;
                vec a = at < o.d ? vec_mul(vec_load(columns + at * ROW + t), f) : vec_set(0);
                vec b = at + 1 < o.d ? vec_mul(vec_load(columns + (at + 1) * ROW + t), f) : vec_set(0);
                v[i] = vec_pairs(a, b);
            }
            vec_transpose(v);
            for (int i = 0; i < LANES && t + i < o.count; i++)
                vec_put_row(o.first + c + o.pixel[t + i] * o.channels, v[i], o.d - c);
        }
    }
}

static void give_pair_rows(strip o, const float *rows, int64_t row, float factor) {
    for (int64_t c = 0; c < o.d; c += LANES)
        for (int64_t t = 0; t < o.count; t++)
            vec_put_bf16(o.first + c + o.pixel[t] * o.channels,
                         vec_mul(vec_load(rows + t * row + c), vec_set(factor)), o.d - c);
}

/* As softmax_vectors, with a rougher power of two. The result goes to s2 as pairs of keys, or, where that is NULL, to s. */
ALWAYS_INLINE void softmax_pairs(float *s, float *s2, int64_t tokens, int wide, const seam_regions *r,
                                 int64_t column, float root, float *inverse) {
    vec top[4], sum[4], factor = vec_set(DUKD_LOG2_E / root);
    softmax_maxima(top, s, tokens, wide, r, column, root);
    for (int v = 0; v < wide; v++) {
        top[v] = vec_mul(top[v], vec_sub(vec_set(0), factor));
        sum[v] = vec_set(0);
    }
    for (int64_t j = 0; j < tokens; j += 2)
        for (int v = 0; v < wide; v++) {
            float *at = s + j * ROW + v * LANES;
            vec a = vec_exp2_rough(vec_fma(vec_load(at), factor, top[v])), b = vec_set(0);
            if (j + 1 < tokens) b = vec_exp2_rough(vec_fma(vec_load(at + ROW), factor, top[v]));
            sum[v] = vec_add(sum[v], vec_add(a, b));
            if (s2) {
                vec_store(s2 + j / 2 * ROW + v * LANES, vec_pairs(a, b));
            } else {
                vec_store(at, a);
                if (j + 1 < tokens) vec_store(at + ROW, b);
            }
        }
    for (int v = 0; v < wide; v++) vec_store(inverse + v * LANES, vec_div(vec_set(1), sum[v]));
}

/* As softmax_columns_back, for columns [i, i + wide LANES), of which d's result goes to s2 and ds_rows, and p to p_rows. */
ALWAYS_INLINE void softmax_pairs_back(const pair_scratch *h, int64_t tokens, int64_t i, int wide,
                                      float *d_bias, int64_t bias_row) {
    vec sum[2], part[2];
    for (int v = 0; v < wide; v++) {
        sum[v] = vec_set(0);
        part[v] = vec_load(h->inverse + i + v * LANES);
    }
    for (int64_t j = 0; j < tokens; j++)
        for (int v = 0; v < wide; v++) {
            int64_t at = j * ROW + i + v * LANES;
            sum[v] = vec_fma(vec_load(h->s + at), vec_load(h->ds + at), sum[v]);
        }
    for (int v = 0; v < wide; v++) sum[v] = vec_mul(sum[v], part[v]);
    for (int64_t j = 0; j < tokens; j += 2) {
        vec d[2][2], p[2][2];
        for (int r = 0; r < 2; r++) {
            d[r][0] = d[r][1] = p[r][0] = p[r][1] = vec_set(0);
            if (j + r == tokens) continue;
            for (int v = 0; v < wide; v++) {
                int64_t at = (j + r) * ROW + i + v * LANES;
                float *bias = d_bias + (j + r) * bias_row + i + v * LANES;
                p[r][v] = vec_mul(vec_load(h->s + at), part[v]);
                d[r][v] = vec_mul(p[r][v], vec_sub(vec_load(h->ds + at), sum[v]));
                vec_store(bias, vec_add(vec_load(bias), d[r][v]));
            }
            vec_store(h->p_rows + ((j + r) * ROW + i) / 2, vec_row(p[r][0], p[r][1]));
            vec_store(h->ds_rows + ((j + r) * ROW + i) / 2, vec_row(d[r][0], d[r][1]));
        }
        for (int v = 0; v < wide; v++)
            vec_store(h->s2 + j / 2 * ROW + i + v * LANES, vec_pairs(d[0][v], d[1][v]));
    }
}

/* The softmax of a block of queries, not yet divided by the sums, in s2 or else in s; see `scores` in ops_type_windows.h. */
static int64_t pair_scores(const pair_scratch *h, const dukd_attention_job *j, const window_place *p,
                           ahead *soon, int64_t head, int64_t first, int64_t count, float *s2) {
    int64_t d = j->channels / j->heads, width = (count + LANES - 1) / LANES * LANES, i = 0;
    seam_regions regions = window_regions(p, h->regions, first, count);
    take_pair_columns(h->q_columns,
                      strip_of(j->qkv, 3 * (int64_t)j->channels, head * d, d, p->pixel + first, count));
    product_run_pairs(&(product){.a = h->q_columns,
                                 .a_row = ROW,
                                 .b = h->k,
                                 .b_row = h->halves,
                                 .b_step = 1,
                                 .start = j->bias + head * j->tokens * j->padded + first,
                                 .start_row = j->padded,
                                 .out = h->s,
                                 .out_row = ROW,
                                 .rows = j->tokens,
                                 .width = width,
                                 .depth = (d + 1) / 2,
                                 .soon = soon});
    for (; i + 2 * LANES <= width; i += 2 * LANES, ahead_step(soon))
        softmax_pairs(h->s + i, s2 ? s2 + i : NULL, j->tokens, 2, &regions, i, j->root, h->inverse + i);
    if (i < width)
        softmax_pairs(h->s + i, s2 ? s2 + i : NULL, j->tokens, 1, &regions, i, j->root, h->inverse + i);
    return width;
}

/* o[channel][query] = the sum over keys of s2 times b2, pairs of keys both. */
static void pair_outputs(const pair_scratch *h, const float *b2, int64_t d, int64_t width, ahead *soon) {
    product_run_pairs(&(product){.a = h->s2,
                                 .a_row = ROW,
                                 .b = b2,
                                 .b_row = 1,
                                 .b_step = h->row,
                                 .out = h->o,
                                 .out_row = ROW,
                                 .rows = d,
                                 .width = width,
                                 .depth = h->pairs,
                                 .soon = soon});
}

/* out[key][channel] (+)= the sum over queries of rows times b2, pairs of queries both. */
static void pair_gradient(const pair_scratch *h, float *out, const float *rows, const float *b2, int64_t keys,
                          int64_t count, int sum, ahead *soon) {
    product_run_pairs(&(product){.a = b2,
                                 .a_row = h->row,
                                 .b = rows,
                                 .b_row = ROW / 2,
                                 .b_step = 1,
                                 .start = sum ? out : NULL,
                                 .start_row = h->row,
                                 .out = out,
                                 .out_row = h->row,
                                 .rows = keys,
                                 .width = h->row,
                                 .depth = (count + 1) / 2,
                                 .soon = soon});
}

static void attention_bf16(const dukd_attention_job *j, int64_t begin, int64_t end, float *scratch) {
    pair_scratch h = pair_scratch_of(scratch, j);
    int64_t c = j->channels, d = c / j->heads, keys = j->tokens;
    window_place p, next;
    window_find(&next, j, begin);
    for (int64_t w = begin; w < end; w++) {
        p = next;
        if (w + 1 < end) window_find(&next, j, w + 1);
        ahead soon = window_ahead(j, &next, (int64_t)sizeof(uint16_t), 1);
        for (int64_t head = 0; head < j->heads; head++) {
            take_pair_rows(h.k, h.halves, strip_of(j->qkv, 3 * c, c + head * d, d, p.pixel, keys));
            take_pixel_pairs(h.v2, h.row, strip_of(j->qkv, 3 * c, 2 * c + head * d, d, p.pixel, keys));
            for (int64_t first = 0; first < keys; first += ROW) {
                int64_t count = least(ROW, keys - first);
                int64_t width = pair_scores(&h, j, &p, &soon, head, first, count, h.s2);
                pair_outputs(&h, h.v2, d, width, &soon);
                give_columns(strip_of(j->out, c, head * d, d, p.pixel + first, count), h.o, 1, h.inverse);
            }
        }
    }
}

/* The formulas are those of ops_type_windows.h. */
static void attention_back_bf16(const dukd_attention_job *j, int64_t begin, int64_t end, float *d_bias,
                                float *scratch) {
    pair_scratch h = pair_scratch_of(scratch, j);
    int64_t c = j->channels, d = c / j->heads, keys = j->tokens;
    window_place p, next;
    window_find(&next, j, begin);
    for (int64_t w = begin; w < end; w++) {
        p = next;
        if (w + 1 < end) window_find(&next, j, w + 1);
        ahead soon = window_ahead(j, &next, (int64_t)sizeof(uint16_t), 3);
        for (int64_t head = 0; head < j->heads; head++) {
            float *d_bias_head = d_bias + head * keys * j->padded;
            strip k = strip_of(j->qkv, 3 * c, c + head * d, d, p.pixel, keys);
            take_pair_rows(h.k, h.halves, k);
            take_pixel_pairs(h.k2, h.row, k);
            take_pair_rows(h.v, h.halves, strip_of(j->qkv, 3 * c, 2 * c + head * d, d, p.pixel, keys));
            for (int64_t first = 0; first < keys; first += ROW) {
                int64_t count = least(ROW, keys - first), i = 0;
                const int64_t *pixel = p.pixel + first;
                strip e = strip_of(j->d, c, head * d, d, pixel, count);
                int64_t width = pair_scores(&h, j, &p, &soon, head, first, count, NULL);
                take_pair_columns(h.d_columns, e);
                product_run_pairs(&(product){.a = h.d_columns,
                                             .a_row = ROW,
                                             .b = h.v,
                                             .b_row = h.halves,
                                             .b_step = 1,
                                             .out = h.ds,
                                             .out_row = ROW,
                                             .rows = keys,
                                             .width = width,
                                             .depth = (d + 1) / 2,
                                             .soon = &soon});
                for (; i + 2 * LANES <= width; i += 2 * LANES)
                    softmax_pairs_back(&h, keys, i, 2, d_bias_head + first, j->padded);
                if (i < width) softmax_pairs_back(&h, keys, i, 1, d_bias_head + first, j->padded);
                take_pixel_pairs(h.d2, h.row, e);
                pair_gradient(&h, h.dv, h.p_rows, h.d2, keys, count, first > 0, &soon);
                take_pixel_pairs(h.q2, h.row, strip_of(j->qkv, 3 * c, head * d, d, pixel, count));
                pair_gradient(&h, h.dk, h.ds_rows, h.q2, keys, count, first > 0, &soon);
                pair_outputs(&h, h.k2, d, width, &soon);
                give_columns(strip_of(j->out, 3 * c, head * d, d, pixel, count), h.o, 1 / j->root, NULL);
            }
            give_pair_rows(strip_of(j->out, 3 * c, c + head * d, d, p.pixel, keys), h.dk, h.row, 1 / j->root);
            give_pair_rows(strip_of(j->out, 3 * c, 2 * c + head * d, d, p.pixel, keys), h.dv, h.row, 1);
        }
    }
}
