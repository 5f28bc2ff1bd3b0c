/* Kernel l1, 16 elements at a time. Included after a cpu_vec_*.h.
 *
 * Where all tensors are dense and the inputs of one type, one loop reads and writes memory directly. Else
 * blocks of those that are not dense f32 go through f32 in the first-level cache. */
#ifndef DUKD_CPU_SIMD_L1_H
#define DUKD_CPU_SIMD_L1_H

#include "cpu_simd_rows.h"

#define NO_GRADIENT ((dukd_element)-1)

/* The elements of one sample of a tensor, in the order of the walk. */
typedef struct {
    dukd_plane
        channel; /* the first one, as seen in the indexes of `value`; no data: there is no such tensor */
    int64_t c_stride;
    int64_t area; /* elements of a channel */
    bool dense;   /* element e lies at e */
} l1_lane;

typedef struct {
    float factor[2];
    bool invert;
    d16 sum[2];
} l1_state;

/* What of a span the loop reads and writes. */
typedef struct {
    const char *value, *target[2];
    char *grad;
    int64_t n;
} l1_span;

/* n a multiple of 16 */
ALWAYS_INLINE void span_loop(l1_state *state, const l1_span *span, dukd_element in, dukd_element out,
                             bool two, bool stream, bool invert) {
    const int64_t in_size = dukd_element_size(in) * 16, out_size = dukd_element_size(out) * 16;
    const v16 one = v16_set(1.0f);
    const v16 factor0 = v16_set(invert ? -state->factor[0] : state->factor[0]);
    const v16 factor1 = v16_set(invert ? -state->factor[1] : state->factor[1]);
    d16 sum0 = state->sum[0], sum1 = state->sum[1];
    const char *value = span->value, *target0 = span->target[0], *target1 = span->target[1];
    char *grad = span->grad;
    for (int64_t i = span->n / 16; i > 0; i--) {
        const v16 x = invert ? v16_sub(one, typed_load(value, in)) : typed_load(value, in);
        const v16 d0 = v16_sub(x, typed_load(target0, in));
        sum0 = d16_add_abs(sum0, d0);
        v16 g;
        if (two) {
            const v16 d1 = v16_sub(x, typed_load(target1, in));
            sum1 = d16_add_abs(sum1, d1);
            g = v16_gradient_two(factor0, d0, factor1, d1);
            target1 += in_size;
        } else {
            g = v16_gradient(factor0, d0);
        }
        value += in_size;
        target0 += in_size;
        if (out == NO_GRADIENT) continue;
        if (stream) {
            typed_stream(grad, out, g);
        } else {
            typed_store(grad, out, g);
        }
        grad += out_size;
    }
    state->sum[0] = sum0;
    state->sum[1] = sum1;
}

ALWAYS_INLINE void span_both(l1_state *state, const l1_span *span, dukd_element in, dukd_element out,
                             bool two, bool stream) {
    if (state->invert) {
        span_loop(state, span, in, out, two, stream, true);
    } else {
        span_loop(state, span, in, out, two, stream, false);
    }
}

typedef void (*span_function)(l1_state *state, const l1_span *span);

/* One function for each constant choice; none for a choice that does not occur. */
#define SPAN(name, in, out, two, stream)                                                                     \
    static void name(l1_state *state, const l1_span *span) {                                                 \
        span_both(state, span, in, out, two, stream);                                                        \
    }
#define SPANS(name, in, out)                                                                                 \
    SPAN(name##_one, in, out, false, false)                                                                  \
    SPAN(name##_two, in, out, true, false)                                                                   \
    SPAN(name##_one_stream, in, out, false, true)                                                            \
    SPAN(name##_two_stream, in, out, true, true)                                                             \
    static const span_function name[4] = {name##_one, name##_two, name##_one_stream, name##_two_stream};
#define SPANS_WITHOUT_GRADIENT(name, in)                                                                     \
    SPAN(name##_one, in, NO_GRADIENT, false, false)                                                          \
    SPAN(name##_two, in, NO_GRADIENT, true, false)                                                           \
    static const span_function name[4] = {name##_one, name##_two, name##_one, name##_two};

SPANS(span_f32_f32, DUKD_ELEMENT_F32, DUKD_ELEMENT_F32)
SPANS(span_f16_f32, DUKD_ELEMENT_F16, DUKD_ELEMENT_F32)
SPANS(span_bf16_f32, DUKD_ELEMENT_BF16, DUKD_ELEMENT_F32)
SPANS(span_f16_f16, DUKD_ELEMENT_F16, DUKD_ELEMENT_F16)
SPANS(span_bf16_bf16, DUKD_ELEMENT_BF16, DUKD_ELEMENT_BF16)
SPANS_WITHOUT_GRADIENT(span_f32, DUKD_ELEMENT_F32)
SPANS_WITHOUT_GRADIENT(span_f16, DUKD_ELEMENT_F16)
SPANS_WITHOUT_GRADIENT(span_bf16, DUKD_ELEMENT_BF16)

static span_function choose_span(dukd_element in, dukd_element out, bool two, bool stream) {
    const int k = (two ? 1 : 0) + (stream ? 2 : 0);
    switch (in) {
    case DUKD_ELEMENT_F16:
        return out == NO_GRADIENT ? span_f16[k] : out == DUKD_ELEMENT_F32 ? span_f16_f32[k] : span_f16_f16[k];
    case DUKD_ELEMENT_BF16:
        return out == NO_GRADIENT        ? span_bf16[k]
               : out == DUKD_ELEMENT_F32 ? span_bf16_f32[k]
                                         : span_bf16_bf16[k];
    default:
        return out == NO_GRADIENT ? span_f32[k] : span_f32_f32[k];
    }
}

static l1_lane lane_of(const dukd_l1_job *job, const dukd_view *view, int64_t sample, uint32_t back) {
    l1_lane lane = {.channel = {0}};
    if (view->data == NULL) return lane;
    const dukd_plane plane = dukd_view_plane(view, sample, 0);
    lane.channel = dukd_plane_restore(plane, back);
    lane.c_stride = view->c_stride;
    lane.area = view->h * view->w;
    int64_t stride;
    lane.dense =
        job->channels_last || (plane_is_line(&lane.channel, &stride) && (stride == 1 || lane.area == 1) &&
                               (view->c == 1 || view->c_stride == lane.area));
    return lane;
}

static const char *lane_at(const l1_lane *lane, int64_t e) {
    return lane->channel.data + e * dukd_element_size(lane->channel.type);
}

/* Elements e .. e + n - 1 as f32: where they lie, or in `room`. */
static const char *lane_read(const l1_lane *lane, int64_t e, int64_t n, float *room) {
    if (lane->dense && lane->channel.type == DUKD_ELEMENT_F32) return lane_at(lane, e);
    if (lane->dense) {
        load_line(room, lane_at(lane, e), lane->channel.type, 1, n);
        return (const char *)room;
    }
    dukd_plane plane = lane->channel;
    for (int64_t done = 0; done < n;) {
        const int64_t c = (e + done) / lane->area, from = (e + done) % lane->area;
        const int64_t part = lane->area - from < n - done ? lane->area - from : n - done;
        plane.data = lane->channel.data + c * lane->c_stride * dukd_element_size(plane.type);
        load_block(room + done, &plane, from, part);
        done += part;
    }
    return (const char *)room;
}

static void lane_write(const l1_lane *lane, int64_t e, const float *from, int64_t n) {
    dukd_plane plane = lane->channel;
    if (lane->dense) {
        store_line(plane.data + e * dukd_element_size(plane.type), plane.type, 1, from, n);
        return;
    }
    for (int64_t done = 0; done < n;) {
        const int64_t c = (e + done) / lane->area, at = (e + done) % lane->area;
        const int64_t part = lane->area - at < n - done ? lane->area - at : n - done;
        plane.data = lane->channel.data + c * lane->c_stride * dukd_element_size(plane.type);
        store_block(&plane, at, from + done, part);
        done += part;
    }
}

/* Element by element up to 16, by way of f32: elements that are not there have no difference and are not
 * written. */
static void l1_tail(l1_state *state, const dukd_l1_job *job, const l1_lane lane[4], int64_t e, int64_t n) {
    float value[16], target[2][16], grad[16], none = state->invert ? 1.0f : 0.0f;
    for (int i = 0; i < 16; i++) {
        value[i] = 0.0f;
        target[0][i] = target[1][i] = none;
    }
    l1_span span = {NULL, {NULL, NULL}, NULL, 16};
    const char *at = lane_read(&lane[0], e, n, value);
    if (at != (const char *)value) memcpy(value, at, (size_t)n * sizeof *value);
    for (uint32_t t = 0; t < job->n_targets; t++) {
        at = lane_read(&lane[2 + t], e, n, target[t]);
        if (at != (const char *)target[t]) memcpy(target[t], at, (size_t)n * sizeof *value);
    }
    span =
        (l1_span){(const char *)value, {(const char *)target[0], (const char *)target[1]}, (char *)grad, 16};
    choose_span(DUKD_ELEMENT_F32, DUKD_ELEMENT_F32, job->n_targets > 1, false)(state, &span);
    if (lane[1].channel.data != NULL) lane_write(&lane[1], e, grad, n);
}

/* Whether every 16 elements from e on are as aligned as streaming stores need. */
static bool can_stream(const l1_lane *grad, int64_t e) {
    const uintptr_t align = (uintptr_t)(16 * dukd_element_size(grad->channel.type));
    return ((uintptr_t)lane_at(grad, e) & (align - 1)) == 0;
}

/* What is the same for all pieces of a sample. */
typedef struct {
    l1_lane lane[4]; /* value, grad, two targets */
    bool direct;     /* one loop over memory does it */
    int64_t touched; /* the last channel whose planes were touched, -1: none */
} l1_sample;

static void begin_sample(l1_sample *s, const dukd_l1_job *job, int64_t sample, uint32_t back) {
    s->lane[0] = lane_of(job, &job->value, sample, 0);
    s->lane[1] = lane_of(job, &job->grad, sample, 0);
    s->lane[2] = lane_of(job, &job->target[0], sample, back);
    s->lane[3] = lane_of(job, &job->target[1], sample, back);
    const dukd_element in = s->lane[0].channel.type;
    s->direct = s->lane[0].dense;
    for (uint32_t t = 0; t < job->n_targets; t++) {
        s->direct = s->direct && s->lane[2 + t].dense && s->lane[2 + t].channel.type == in;
    }
    if (job->grad.data != NULL) {
        s->direct =
            s->direct && s->lane[1].dense && (job->grad.type == in || job->grad.type == DUKD_ELEMENT_F32);
    }
    s->touched = -1;
}

/* Touches the planes of the channels that elements e .. e + n - 1 begin. */
static void touch_channels(l1_sample *s, int64_t e, int64_t n) {
    const int64_t last = (e + n - 1) / s->lane[0].area;
    for (int64_t c = e / s->lane[0].area; c <= last; c++) {
        if (c <= s->touched) continue;
        s->touched = c;
        for (int i = 0; i < 4; i++) {
            const l1_lane *lane = &s->lane[i];
            if (i == 1 || lane->channel.data == NULL || lane->dense) continue;
            dukd_plane plane = lane->channel;
            plane.data += c * lane->c_stride * dukd_element_size(plane.type);
            plane_touch(&plane);
        }
    }
}

static void span_by_blocks(l1_state *state, const dukd_l1_job *job, l1_sample *s, int64_t e, int64_t end) {
    float room[3][TILE_BLOCK]; /* the gradient goes where the first target was */
    const l1_lane *value = &s->lane[0], *grad = &s->lane[1], *target = &s->lane[2];
    const bool two = job->n_targets > 1, wanted = job->grad.data != NULL;
    const bool in_place = wanted && grad->dense && job->grad.type == DUKD_ELEMENT_F32;
    const bool stream = job->stream && in_place && can_stream(grad, e);
    const span_function run =
        choose_span(DUKD_ELEMENT_F32, wanted ? DUKD_ELEMENT_F32 : NO_GRADIENT, two, stream);
    while (e < end) {
        int64_t n = plane_block(&target[0].channel, e % target[0].area);
        if (n > end - e) n = end - e;
        touch_channels(s, e, n);
        const l1_span span = {
            lane_read(value, e, n, room[0]),
            {lane_read(&target[0], e, n, room[1]), two ? lane_read(&target[1], e, n, room[2]) : NULL},
            in_place ? grad->channel.data + e * (int64_t)sizeof(float) : (char *)room[1],
            n};
        run(state, &span);
        if (wanted && !in_place) lane_write(grad, e, room[1], n);
        e += n;
    }
    if (stream) v16_fence();
}

static void span_directly(l1_state *state, const dukd_l1_job *job, const l1_sample *s, int64_t e,
                          int64_t end) {
    const l1_lane *grad = &s->lane[1], *target = &s->lane[2];
    const bool two = job->n_targets > 1, wanted = job->grad.data != NULL;
    const bool stream = job->stream && wanted && can_stream(grad, e);
    const l1_span span = {lane_at(&s->lane[0], e),
                          {lane_at(&target[0], e), two ? lane_at(&target[1], e) : NULL},
                          wanted ? grad->channel.data + e * dukd_element_size(job->grad.type) : NULL,
                          end - e};
    choose_span(job->value.type, wanted ? job->grad.type : NO_GRADIENT, two, stream)(state, &span);
    if (stream) v16_fence();
}

static void l1_simd(const dukd_l1_job *job, int64_t piece, int64_t piece_end, double *sum) {
    l1_sample s;
    for (int64_t i = piece; i < piece_end; i++, sum += 2) {
        const int64_t sample = i / job->pieces, begin = i % job->pieces * DUKD_L1_PIECE;
        const uint32_t back = job->back != NULL ? job->back[sample] : 0;
        if (i == piece || begin == 0) begin_sample(&s, job, sample, back);
        l1_state state = {
            {job->factor[0], job->factor[1]}, (back & DUKD_AUGMENT_INVERT) != 0, {d16_zero(), d16_zero()}};
        const int64_t end = begin + DUKD_L1_PIECE < job->count ? begin + DUKD_L1_PIECE : job->count;
        const int64_t whole = begin + (end - begin) / 16 * 16;
        if (s.direct) {
            span_directly(&state, job, &s, begin, whole);
        } else {
            span_by_blocks(&state, job, &s, begin, whole);
        }
        if (whole < end) l1_tail(&state, job, s.lane, whole, end - whole);
        for (uint32_t t = 0; t < job->n_targets; t++) {
            double lanes[DUKD_L1_LANES];
            d16_store(lanes, state.sum[t]);
            sum[t] = 0.0;
            for (int k = 0; k < DUKD_L1_LANES; k++) {
                sum[t] += lanes[k];
            }
        }
    }
}

#endif
