/* Part of ops_types.h: window attention. All products are in f32, one head of one window at a time, in blocks of queries.
 *
 * The scores are held with keys in rows and queries in columns, s[j][i]: vectors go along the queries, and only the queries (and in
 * the backward the output's gradient) are transposed on their way from the tensor. */

/* Channels [channel, channel + d) of `count` pixels to rows of `row` floats, times `factor` and, where not NULL, one factor
 * for each row. */
static void NAME(take_rows)(float *rows, int64_t row, const void *tensor, int64_t channels, int64_t channel,
                            int64_t d, const int64_t *pixel, int64_t count, float factor,
                            const float *factors) {
    for (int64_t c = 0; c < row; c += LANES) {
        const T *x = (const T *)tensor + channel + c;
        for (int64_t t = 0; t < count; t++) {
            vec v = c < d ? GET(x + pixel[t] * channels, d - c) : vec_set(0);
            vec_store(rows + t * row + c, vec_mul(v, vec_set(factors ? factor * factors[t] : factor)));
        }
    }
}

/* The same with the channels in rows of DUKD_ATTENTION_BLOCK floats; columns up to a multiple of LANES are zeros. */
static void NAME(take_columns)(float *columns, const void *tensor, int64_t channels, int64_t channel,
                               int64_t d, const int64_t *pixel, int64_t count) {
    for (int64_t c = 0; c < d; c += LANES) {
        const T *from = (const T *)tensor + channel + c;
        int64_t left = d - c;
        for (int64_t t = 0; t < count; t += LANES) {
            vec x[LANES];
            for (int i = 0; i < LANES; i++)
                x[i] = t + i < count ? GET(from + pixel[t + i] * channels, left) : vec_set(0);
            vec_transpose(x);
            for (int i = 0; i < LANES; i++)
                if (i < left) vec_store(columns + (c + i) * ROW + t, x[i]);
        }
    }
}

static void NAME(give_rows)(void *tensor, int64_t channels, int64_t channel, int64_t d, const int64_t *pixel,
                            int64_t count, const float *rows, int64_t row, float factor,
                            const float *factors) {
    for (int64_t c = 0; c < d; c += LANES) {
        T *o = (T *)tensor + channel + c;
        for (int64_t t = 0; t < count; t++)
            PUT(o + pixel[t] * channels,
                vec_mul(vec_load(rows + t * row + c), vec_set(factors ? factor * factors[t] : factor)),
                d - c);
    }
}

/* s = exp(q k^T / root + bias - its maximum), not yet divided by the sums, of queries [first, first + count). Returns the columns that
 * count, in whole vectors. */
static int64_t NAME(scores)(const head_scratch *h, const dukd_attention_job *j, const window_place *p,
                            ahead *soon, int64_t head, int64_t first, int64_t count) {
    int64_t d = j->channels / j->heads, width = (count + LANES - 1) / LANES * LANES;
    seam_regions regions = window_regions(p, h->regions, first, count);
    NAME(take_columns)
    (h->q_columns, j->qkv, 3 * (int64_t)j->channels, head * d, d, p->pixel + first, count);
    product_run(&(product){.a = h->q_columns,
                           .a_row = ROW,
                           .b = h->k,
                           .b_row = h->row,
                           .b_step = 1,
                           .start = j->bias + head * j->tokens * j->padded + first,
                           .start_row = j->padded,
                           .out = h->s,
                           .out_row = ROW,
                           .rows = j->tokens,
                           .width = width,
                           .depth = d,
                           .soon = soon});
    softmax_columns(h->s, j->tokens, width, &regions, j->root, h->inverse, soon);
    return width;
}

static void NAME(take_keys)(const head_scratch *h, const dukd_attention_job *j, const window_place *p,
                            int64_t head) {
    int64_t c = j->channels, d = c / j->heads;
    NAME(take_rows)(h->k, h->row, j->qkv, 3 * c, c + head * d, d, p->pixel, j->tokens, 1, NULL);
    NAME(take_rows)(h->v, h->row, j->qkv, 3 * c, 2 * c + head * d, d, p->pixel, j->tokens, 1, NULL);
}

static void NAME(attention)(const dukd_attention_job *j, int64_t begin, int64_t end, float *scratch) {
    head_scratch h = head_scratch_of(scratch, j);
    int64_t d = j->channels / j->heads;
    window_place p, next;
    window_find(&next, j, begin);
    for (int64_t w = begin; w < end; w++) {
        p = next;
        if (w + 1 < end) window_find(&next, j, w + 1);
        ahead soon = window_ahead(j, &next, (int64_t)sizeof(T), 2);
        for (int64_t head = 0; head < j->heads; head++) {
            NAME(take_keys)(&h, j, &p, head);
            for (int64_t first = 0; first < j->tokens; first += ROW) {
                int64_t count = least(ROW, j->tokens - first);
                NAME(scores)(&h, j, &p, &soon, head, first, count);
                product_run(&(product){.a = h.v,
                                       .a_row = h.row,
                                       .b = h.s,
                                       .b_row = 1,
                                       .b_step = ROW,
                                       .out = h.o,
                                       .out_row = h.row,
                                       .rows = count,
                                       .width = h.row,
                                       .depth = j->tokens,
                                       .soon = &soon});
                NAME(give_rows)
                (j->out, j->channels, head * d, d, p.pixel + first, count, h.o, h.row, 1, h.inverse);
            }
        }
    }
}

/* With p = s inverse and the output's gradient e: dv = p^T e, dp = e v^T, ds = p (dp - rowsum(p dp)),
 * dq = ds k / sqrt(d), dk = ds^T q / sqrt(d). */
static void NAME(attention_back)(const dukd_attention_job *j, int64_t begin, int64_t end, float *d_bias,
                                 float *scratch) {
    head_scratch h = head_scratch_of(scratch, j);
    int64_t c = j->channels, d = c / j->heads, keys = j->tokens;
    float scale = 1.f / j->root;
    window_place p, next;
    window_find(&next, j, begin);
    for (int64_t w = begin; w < end; w++) {
        p = next;
        if (w + 1 < end) window_find(&next, j, w + 1);
        ahead soon = window_ahead(j, &next, (int64_t)sizeof(T), 5);
        for (int64_t head = 0; head < j->heads; head++) {
            float *d_bias_head = d_bias + head * keys * j->padded;
            NAME(take_keys)(&h, j, &p, head);
            for (int64_t first = 0; first < keys; first += ROW) {
                int64_t count = least(ROW, keys - first);
                const int64_t *pixel = p.pixel + first;
                int64_t width = NAME(scores)(&h, j, &p, &soon, head, first, count);
                NAME(take_columns)(h.d_columns, j->d, c, head * d, d, pixel, count);
                product_run(&(product){.a = h.d_columns,
                                       .a_row = ROW,
                                       .b = h.v,
                                       .b_row = h.row,
                                       .b_step = 1,
                                       .out = h.ds,
                                       .out_row = ROW,
                                       .rows = keys,
                                       .width = width,
                                       .depth = d,
                                       .soon = &soon});
                softmax_columns_back(h.ds, h.s, h.inverse, keys, width, d_bias_head + first, j->padded);
                NAME(take_rows)(h.o, h.row, j->d, c, head * d, d, pixel, count, 1, h.inverse);
                product_run(&(product){.a = h.o,
                                       .a_row = h.row,
                                       .b = h.s,
                                       .b_row = ROW,
                                       .b_step = 1,
                                       .start = first > 0 ? h.dv : NULL,
                                       .start_row = h.row,
                                       .out = h.dv,
                                       .out_row = h.row,
                                       .rows = keys,
                                       .width = h.row,
                                       .depth = count,
                                       .soon = &soon});
                NAME(take_rows)(h.q, h.row, j->qkv, 3 * c, head * d, d, pixel, count, scale, NULL);
                product_run(&(product){.a = h.q,
                                       .a_row = h.row,
                                       .b = h.ds,
                                       .b_row = ROW,
                                       .b_step = 1,
                                       .start = first > 0 ? h.dk : NULL,
                                       .start_row = h.row,
                                       .out = h.dk,
                                       .out_row = h.row,
                                       .rows = keys,
                                       .width = h.row,
                                       .depth = count,
                                       .soon = &soon});
                product_run(&(product){.a = h.k,
                                       .a_row = h.row,
                                       .b = h.ds,
                                       .b_row = 1,
                                       .b_step = ROW,
                                       .out = h.o,
                                       .out_row = h.row,
                                       .rows = count,
                                       .width = h.row,
                                       .depth = keys,
                                       .soon = &soon});
                NAME(give_rows)(j->out, 3 * c, head * d, d, pixel, count, h.o, h.row, scale, NULL);
            }
            NAME(give_rows)(j->out, 3 * c, c + head * d, d, p.pixel, keys, h.dk, h.row, 1, NULL);
            NAME(give_rows)(j->out, 3 * c, 2 * c + head * d, d, p.pixel, keys, h.dv, h.row, 1, NULL);
        }
    }
}
