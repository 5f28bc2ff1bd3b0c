/* Part of ops_types.h: window attention. All products are in f32, one head of one window at a time, in blocks of queries.
 *
 * The scores are held with keys in rows and queries in columns, s[j][i]: vectors go along the queries, and only the queries (and in
 * the backward the output's gradient) are transposed on their way from the tensor. */

/* Channels [channel, channel + d) of `count` pixels to rows of h->row floats, times `factor` and, where not NULL, one factor
 * for each row. */
static void NAME(take_rows)(float *rows, int64_t row, const void *tensor, int64_t channels, int64_t channel,
                            int64_t d, const int64_t *pixel, int64_t count, float factor,
                            const float *factors) {
    for (int64_t t = 0; t < count; t++) {
        const T *x = (const T *)tensor + pixel[t] * channels + channel;
        vec f = vec_set(factors ? factor * factors[t] : factor);
        for (int64_t c = 0; c < row; c += LANES)
            vec_store(rows + t * row + c, c < d ? vec_mul(GET(x + c, d - c), f) : vec_set(0));
    }
}

/* The same with the channels in rows of DUKD_ATTENTION_BLOCK floats; columns up to a multiple of LANES are zeros. */
static void NAME(take_columns)(float *columns, const void *tensor, int64_t channels, int64_t channel,
                               int64_t d, const int64_t *pixel, int64_t count, float factor) {
    for (int64_t t = 0; t < count; t += LANES)
        for (int64_t c = 0; c < d; c += LANES) {
            vec x[LANES];
            for (int64_t i = 0; i < LANES; i++)
                x[i] = t + i < count ? GET((const T *)tensor + pixel[t + i] * channels + channel + c, d - c)
                                     : vec_set(0);
            vec_transpose(x);
            for (int64_t i = 0; i < least(LANES, d - c); i++)
                vec_store(columns + (c + i) * ROW + t, vec_mul(x[i], vec_set(factor)));
        }
}

static void NAME(give_rows)(void *tensor, int64_t channels, int64_t channel, int64_t d, const int64_t *pixel,
                            int64_t count, const float *rows, int64_t row, float factor,
                            const float *factors) {
    for (int64_t t = 0; t < count; t++) {
        T *o = (T *)tensor + pixel[t] * channels + channel;
        vec f = vec_set(factors ? factor * factors[t] : factor);
        for (int64_t c = 0; c < d; c += LANES) PUT(o + c, vec_mul(vec_load(rows + t * row + c), f), d - c);
    }
}

/* s = exp(q k^T / sqrt(d) + bias - ...), not yet divided by the sums, of queries [first, first + count). Returns the columns that
 * count, in whole vectors. */
static int64_t NAME(scores)(const head_scratch *h, const dukd_attention_job *j, const window_place *p,
                            int64_t head, int64_t first, int64_t count) {
    int64_t d = j->channels / j->heads, width = (count + LANES - 1) / LANES * LANES;
    const float *regions = NULL;
    NAME(take_columns)
    (h->q_columns, j->qkv, 3 * (int64_t)j->channels, head * d, d, p->pixel + first, count,
     1.f / sqrtf((float)d));
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
                           .depth = d});
    if (p->seam) {
        memset(h->regions, 0, ROW * sizeof *h->regions);
        memcpy(h->regions, p->region + first, (size_t)count * sizeof *h->regions);
        regions = h->regions;
    }
    softmax_columns(h->s, j->tokens, width, regions, p->region, h->inverse);
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
    for (int64_t w = begin; w < end; w++) {
        window_place p;
        window_find(&p, j, w);
        for (int64_t head = 0; head < j->heads; head++) {
            NAME(take_keys)(&h, j, &p, head);
            for (int64_t first = 0; first < j->tokens; first += ROW) {
                int64_t count = least(ROW, j->tokens - first);
                NAME(scores)(&h, j, &p, head, first, count);
                product_run(&(product){.a = h.v,
                                       .a_row = h.row,
                                       .b = h.s,
                                       .b_row = 1,
                                       .b_step = ROW,
                                       .out = h.o,
                                       .out_row = h.row,
                                       .rows = count,
                                       .width = h.row,
                                       .depth = j->tokens});
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
    float scale = 1.f / sqrtf((float)d);
    for (int64_t w = begin; w < end; w++) {
        window_place p;
        window_find(&p, j, w);
        for (int64_t head = 0; head < j->heads; head++) {
            float *d_bias_head = d_bias + head * keys * j->padded;
            NAME(take_keys)(&h, j, &p, head);
            for (int64_t first = 0; first < keys; first += ROW) {
                int64_t count = least(ROW, keys - first);
                const int64_t *pixel = p.pixel + first;
                int64_t width = NAME(scores)(&h, j, &p, head, first, count);
                NAME(take_columns)(h.d_columns, j->d, c, head * d, d, pixel, count, 1);
                product_run(&(product){.a = h.d_columns,
                                       .a_row = ROW,
                                       .b = h.v,
                                       .b_row = h.row,
                                       .b_step = 1,
                                       .out = h.ds,
                                       .out_row = ROW,
                                       .rows = keys,
                                       .width = width,
                                       .depth = d});
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
                                       .depth = count});
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
                                       .depth = count});
                product_run(&(product){.a = h.k,
                                       .a_row = h.row,
                                       .b = h.ds,
                                       .b_row = 1,
                                       .b_step = ROW,
                                       .out = h.o,
                                       .out_row = h.row,
                                       .rows = count,
                                       .width = h.row,
                                       .depth = keys});
                NAME(give_rows)(j->out, 3 * c, head * d, d, pixel, count, h.o, h.row, scale, NULL);
            }
            NAME(give_rows)(j->out, 3 * c, c + head * d, d, p.pixel, keys, h.dk, h.row, 1, NULL);
            NAME(give_rows)(j->out, 3 * c, 2 * c + head * d, d, p.pixel, keys, h.dv, h.row, 1, NULL);
        }
    }
}
