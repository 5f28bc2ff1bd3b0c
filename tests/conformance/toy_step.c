#include "toy_step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static dukd_dtype type_or_f32(dukd_dtype type) {
    return type.bits ? type : toy_f32;
}

/* ---- taps ---- */

static const dukd_tensor *source_of(toy_pass *p, const dukd_tap *tap) {
    if (tap->source_kind == DUKD_SOURCE_TAP) return &p->values[tap->source_id].t;
    return p->pass->inputs[tap->source_id]->tensor;
}

static int tap_is_sane(const dukd_pass *pass, uint32_t i) {
    const dukd_tap *tap = pass->taps[i];
    if (tap->id != i || tap->network >= TOY_NETWORKS) return 0;
    return tap->source_id < (tap->source_kind == DUKD_SOURCE_TAP ? i : pass->n_inputs);
}

/* The networks' formulas. */
static void compute(const toy_session *t, const dukd_tap *tap, const float *in, const int64_t in_shape[4],
                    const int64_t shape[4], float *out) {
    int64_t scale = tap->layer ? 1 : t->h.setup.scale;
    double gain = tap->network == TOY_TEACHER ? 0.95 : 0.8;
    for (int64_t n = 0; n < shape[0]; n++) {
        uint64_t place = 0;
        for (int64_t c = 0; c < shape[1]; c++)
            for (int64_t y = 0; y < shape[2]; y++)
                for (int64_t x = 0; x < shape[3]; x++, place++) {
                    int64_t from =
                        ((n * in_shape[1] + c % in_shape[1]) * in_shape[2] + y / scale) * in_shape[3] +
                        x / scale;
                    double noise = 0.1 * toy_unit(place * 31 + tap->network);
                    *out++ = (float)(gain * (double)in[from] + noise);
                }
    }
}

/* What the run wants of every value. */
static void shape_values(const toy_run *run, const int64_t shape[4], float *v) {
    int64_t n = toy_count(shape), plane = shape[2] * shape[3], image = shape[1] * plane;
    for (int64_t i = 0; i < n && run->same_channels; i++) v[i] = v[i / image * image + i % plane];
    for (int64_t i = 0; i < n && run->round_to.bits; i++) v[i] = toy_round(v[i], run->round_to);
}

/* What it wants of some. */
static void alter(const toy_run *run, int32_t wanted, const int64_t shape[4], float *v) {
    int64_t n = toy_count(shape);
    if (run->probe_direction && wanted == run->probe)
        for (int64_t i = 0; i < n; i++)
            v[i] = (float)((double)v[i] + run->probe_step * (double)run->probe_direction[i]);
    if (run->nan_value && wanted == 0) v[0] = NAN;
}

static int make_tap(toy_session *t, toy_pass *p, const toy_run *run, uint32_t i, int32_t wanted) {
    const dukd_tap *tap = p->pass->taps[i];
    const dukd_tensor *source = source_of(p, tap);
    int64_t shape[4];
    if (t->h.host.tap_shape(&t->h, tap, source->shape, shape, NULL)) return -1;
    t->h.shape_calls--; /* the suite's own */
    if (toy_tensor_make(&p->values[i], shape, type_or_f32(run->value_type), run->values)) return -1;
    if (wanted >= 0 && toy_tensor_make(&p->grads[i], shape, type_or_f32(run->grad_type), run->grads))
        return -1;
    float *in = toy_values(source), *out = malloc((uint64_t)toy_count(shape) * sizeof *out);
    int failed = !in || !out;
    if (!failed) {
        compute(t, tap, in, source->shape, shape, out);
        shape_values(run, shape, out);
        toy_write(&p->values[i].t, out);
    }
    free(in);
    free(out);
    return failed ? -1 : 0;
}

int toy_pass_make(conform *c, toy_session *t, toy_pass *p, const toy_run *run, int32_t first_wanted) {
    const dukd_pass *pass = p->pass;
    int32_t wanted = first_wanted;
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        int wants = (pass->taps[i]->flags & DUKD_TAP_WANT_GRAD) != 0;
        if (!tap_is_sane(pass, i) || make_tap(t, p, run, i, wants ? wanted++ : -1)) {
            conform_fail(c, "tap %u of pass %u cannot be computed", i, pass->id);
            return -1;
        }
    }
    /* afterwards: the taps computed from this one are those of the plain value */
    wanted = first_wanted;
    for (uint32_t i = 0; i < pass->n_taps; i++) {
        toy_tensor *value = &p->values[i];
        float *v = toy_values(&value->t);
        if (!v) return -1;
        alter(run, pass->taps[i]->flags & DUKD_TAP_WANT_GRAD ? wanted++ : -1, value->shape, v);
        toy_write(&value->t, v);
        free(v);
        toy_hash(&p->values_hash, value->memory, value->bytes);
    }
    return 0;
}

void toy_pass_free(toy_pass *p) {
    for (int i = 0; i < TOY_MAX_TAPS; i++) {
        toy_tensor_free(&p->values[i]);
        toy_tensor_free(&p->grads[i]);
    }
}

void toy_submit_of(toy_pass *p, const toy_run *run, toy_submit *out) {
    for (uint32_t i = 0; i < p->pass->n_taps; i++) {
        out->values[i] = &p->values[i].t;
        out->grads[i] = p->grads[i].memory ? &p->grads[i].t : NULL;
    }
    out->submit = (dukd_submit){.struct_size = DUKD_SUBMIT_SIZE,
                                .pass_id = p->pass->id,
                                .n_taps = p->pass->n_taps,
                                .values = out->values,
                                .grads = out->grads,
                                .grad_scale = run->grad_scale != 0 ? run->grad_scale : 1};
}

dukd_step toy_step_of(const toy_session *t, const toy_run *run) {
    return (dukd_step){.struct_size = DUKD_STEP_SIZE,
                       .iteration = run->iteration ? run->iteration : 1,
                       .first_sample = run->first_sample,
                       .micro_index = run->micro_index,
                       .micro_count = t->params.micro_count,
                       .lr = &t->h.lr.t,
                       .hr = &t->h.hr.t};
}

/* ---- what was seen ---- */

/* The structs of a pass, pointers and all. */
static uint64_t hash_structs(const dukd_pass *pass) {
    uint64_t h = 0;
    toy_hash(&h, pass, sizeof *pass);
    for (uint32_t i = 0; i < pass->n_taps; i++) toy_hash(&h, pass->taps[i], sizeof *pass->taps[i]);
    for (uint32_t i = 0; i < pass->n_inputs; i++) {
        toy_hash(&h, pass->inputs[i], sizeof *pass->inputs[i]);
        toy_hash(&h, pass->inputs[i]->tensor, sizeof *pass->inputs[i]->tensor);
    }
    return h;
}

/* What the inputs are: values, samples, places, augmentations. */
static uint64_t hash_inputs(const dukd_pass *pass) {
    uint64_t h = 0;
    for (uint32_t i = 0; i < pass->n_inputs; i++) {
        const dukd_origin *o = pass->inputs[i]->origin;
        toy_hash_tensor(&h, pass->inputs[i]->tensor);
        if (!o) continue;
        uint64_t n = o->n_samples;
        if (o->samples) toy_hash(&h, o->samples, n * sizeof *o->samples);
        if (o->rows) toy_hash(&h, o->rows, n * sizeof *o->rows);
        if (o->cols) toy_hash(&h, o->cols, n * sizeof *o->cols);
        if (o->augment) toy_hash(&h, o->augment, n * sizeof *o->augment);
    }
    return h;
}

static uint64_t hash_grads(const toy_pass *p) {
    uint64_t h = 0;
    for (uint32_t i = 0; i < p->pass->n_taps; i++)
        if (p->grads[i].memory) toy_hash(&h, p->grads[i].memory, p->grads[i].bytes);
    return h;
}

static void hash_batch(const toy_host *h, uint64_t *hash) {
    *hash = 0;
    toy_hash(hash, h->lr.memory, h->lr.bytes);
    toy_hash(hash, h->hr.memory, h->hr.bytes);
}

static void record_pass(const toy_pass *p, toy_result *out) {
    const dukd_pass *pass = p->pass;
    out->passes++;
    out->optimizer_steps += (pass->flags & DUKD_PASS_OPTIMIZE_AFTER) != 0;
    out->zeroed += (pass->flags & DUKD_PASS_ZERO_GRAD_BEFORE) != 0;
    out->averaged += (pass->flags & DUKD_PASS_EMA_AFTER) != 0;
    toy_hash(&out->inputs_hash, &p->inputs_hash, sizeof p->inputs_hash);
}

static int record_gradients(const toy_pass *p, toy_result *out) {
    for (uint32_t i = 0; i < p->pass->n_taps; i++) {
        const toy_tensor *g = &p->grads[i];
        if (!g->memory) continue;
        if (out->n_wanted == TOY_MAX_WANTED) return -1;
        toy_wanted *w = &out->wanted[out->n_wanted++];
        *w = (toy_wanted){p->pass->id, i, toy_count(g->shape), toy_values(&g->t)};
        if (!w->grad) return -1;
        out->not_written += toy_unwritten(g);
        out->spilled += toy_spilled(g);
        for (int64_t k = 0; k < w->count; k++) {
            out->not_finite += !isfinite(w->grad[k]);
            out->norm += fabs((double)w->grad[k]);
        }
    }
    return 0;
}

void toy_result_free(toy_result *r) {
    for (int32_t i = 0; i < r->n_wanted; i++) free(r->wanted[i].grad);
    for (uint32_t i = 0; i < r->n_params; i++) free(r->params[i].grad);
    r->n_wanted = 0;
    r->n_params = 0;
}

static double difference(const float *a, const float *b, int64_t count) {
    double most = 0, size = 0;
    for (int64_t k = 0; k < count; k++) {
        double d = fabs((double)a[k] - (double)b[k]), s = fabs((double)a[k]);
        if (!(d <= most)) most = isnan(d) ? INFINITY : d;
        if (s > size) size = s;
    }
    if (most == 0) return 0;
    return size > 0 ? most / size : INFINITY;
}

double toy_difference(const toy_result *a, const toy_result *b) {
    double most = 0;
    if (a->n_wanted != b->n_wanted || a->n_params != b->n_params) return INFINITY;
    for (int32_t i = 0; i < a->n_wanted; i++) {
        const toy_wanted *x = &a->wanted[i], *y = &b->wanted[i];
        if (x->pass != y->pass || x->tap != y->tap || x->count != y->count) return INFINITY;
        most = fmax(most, difference(x->grad, y->grad, x->count));
    }
    for (uint32_t i = 0; i < a->n_params; i++) {
        if (a->params[i].count != b->params[i].count) return INFINITY;
        most = fmax(most, difference(a->params[i].grad, b->params[i].grad, a->params[i].count));
    }
    return most;
}

int toy_identical(const toy_result *a, const toy_result *b) {
    if (a->passes != b->passes || a->inputs_hash != b->inputs_hash || a->n_wanted != b->n_wanted) return 0;
    if (memcmp(&a->total, &b->total, sizeof a->total)) return 0;
    for (int32_t i = 0; i < a->n_wanted; i++) {
        const toy_wanted *x = &a->wanted[i], *y = &b->wanted[i];
        if (x->pass != y->pass || x->tap != y->tap || x->count != y->count) return 0;
        if (memcmp(x->grad, y->grad, (uint64_t)x->count * sizeof *x->grad)) return 0;
    }
    if (a->n_params != b->n_params) return 0;
    for (uint32_t i = 0; i < a->n_params; i++) {
        if (a->params[i].count != b->params[i].count) return 0;
        if (memcmp(a->params[i].grad, b->params[i].grad, (uint64_t)a->params[i].count * sizeof(float)))
            return 0;
    }
    return 1;
}

/* ---- a step ---- */

typedef struct {
    conform *c;
    toy_session *t;
    const toy_run *run;
    toy_result *out;
    toy_pass pass[TOY_MAX_PASSES];
    uint32_t n, submitted;              /* passes handed out, and how many of them were submitted */
    int32_t wanted;                     /* gradients so far */
    int calls;                          /* for give_up */
    uint64_t param_values, param_grads; /* hashes of the parameters, as they must be */
} flight;

static int32_t failed(conform *c, const char *call, int32_t code, const dukd_error *e) {
    conform_fail(c, "%s gave %d: %s", call, code, e->message);
    return code;
}

static int32_t stop(conform *c, const char *why) {
    conform_fail(c, "%s", why);
    return TOY_STOPPED;
}

/* Gradients of parameters change in submit_pass of a pass with BACKWARD, and nowhere else; their values never. */
static void watch_params(flight *f, int may_change) {
    const uint64_t grads = toy_params_hash(&f->t->own, 1);
    f->out->params_touched += !may_change && grads != f->param_grads;
    f->out->params_written += toy_params_hash(&f->t->own, 0) != f->param_values;
    f->param_grads = grads;
}

static int32_t submit_one(flight *f, toy_pass *p) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    toy_submit s;
    toy_submit_of(p, f->run, &s);
    watch_params(f, 0);
    int32_t code = f->c->plugin->submit_pass(f->t->s, &s.submit, &e);
    if (code != DUKD_OK) return failed(f->c, "submit_pass", code, &e);
    watch_params(f, (p->pass->flags & DUKD_PASS_BACKWARD) != 0);
    p->submitted = 1;
    f->submitted++;
    p->grads_hash = hash_grads(p);
    uint64_t values_hash = 0;
    for (uint32_t i = 0; i < p->pass->n_taps; i++) {
        toy_tensor *v = &p->values[i];
        toy_hash(&values_hash, v->memory, v->bytes);
        if (f->run->wipe && !(p->pass->taps[i]->flags & DUKD_TAP_KEEP)) memset(v->memory, 0xff, v->bytes);
    }
    f->out->values_changed += values_hash != p->values_hash;
    if (p->pass->flags & DUKD_PASS_OPTIMIZE_AFTER) f->out->moved = 1;
    return 0;
}

/* Whether the step is to be given up here. */
static int enough(flight *f) {
    return f->run->give_up && ++f->calls >= f->run->give_up;
}

static int32_t submit_all(flight *f, int *given_up) {
    uint32_t first = f->submitted, n = f->n - first;
    int clears = 0;
    watch_params(f, 0);
    for (uint32_t i = 0; i < n; i++)
        clears |= (f->pass[first + i].pass->flags & DUKD_PASS_ZERO_GRAD_BEFORE) != 0;
    if (clears) toy_params_clear(&f->t->own, f->run->param_fill);
    f->param_grads = toy_params_hash(&f->t->own, 1);
    for (uint32_t i = 0; i < n && !*given_up; i++) {
        uint32_t k = f->run->order == TOY_TOGETHER_BACKWARDS ? f->n - 1 - i : first + i;
        int32_t code = submit_one(f, &f->pass[k]);
        if (code) return code;
        *given_up = enough(f);
    }
    return 0;
}

/* All that is handed out, until DONE; or until it is given up. */
static int32_t passes(flight *f, int *given_up) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    for (;;) {
        if (f->n == TOY_MAX_PASSES) return stop(f->c, "a step has more passes than this suite can follow");
        toy_pass *p = &f->pass[f->n];
        int32_t code = f->c->plugin->next_pass(f->t->s, &p->pass, &e);
        if (code < 0) return failed(f->c, "next_pass", code, &e);
        if (code == DUKD_OK) {
            f->n++;
            if (!p->pass || p->pass->n_taps > TOY_MAX_TAPS)
                return stop(f->c, "a pass has more taps than this suite can follow");
            p->inputs_hash = hash_inputs(p->pass);
            p->structs_hash = hash_structs(p->pass);
            record_pass(p, f->out);
            if (f->run->look && f->run->look(f->c, f->t, p->pass, f->run->arg)) return TOY_STOPPED;
            if (toy_pass_make(f->c, f->t, p, f->run, f->wanted)) return stop(f->c, "out of memory");
            for (uint32_t i = 0; i < p->pass->n_taps; i++) f->wanted += p->grads[i].memory != NULL;
            if ((*given_up = enough(f))) return 0;
            if (f->run->order != TOY_ONE_BY_ONE) continue;
        } else if (code == DUKD_WAIT && f->submitted == f->n) {
            return stop(f->c, "next_pass gave DUKD_WAIT, but every pass had been submitted");
        }
        f->out->waits += code == DUKD_WAIT;
        int32_t status = submit_all(f, given_up);
        if (status || *given_up || code == DUKD_STEP_DONE) return status;
    }
}

static int32_t take_total(flight *f) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    dukd_losses losses = {.struct_size = DUKD_LOSSES_SIZE};
    int32_t code = f->c->plugin->read_losses(f->t->s, &losses, &e);
    if (code != DUKD_OK) return failed(f->c, "read_losses", code, &e);
    for (uint32_t i = 0; i < losses.n_losses; i++)
        if (strcmp(losses.names[i], "l_total") == 0) {
            f->out->total = losses.values[i];
            return 0;
        }
    return stop(f->c, "read_losses gives no l_total");
}

static int32_t record_params(flight *f) {
    toy_params *own = &f->t->own;
    f->out->params_spilled = toy_params_spilled(own);
    for (uint32_t i = 0; i < own->n; i++) {
        const uint64_t size = (uint64_t)own->param[i].count * sizeof(float);
        float *copy = malloc(size);
        if (!copy) return stop(f->c, "the suite is out of memory");
        memcpy(copy, toy_param_grads(own, i), size);
        f->out->params[i].grad = copy;
        f->out->params[i].count = own->param[i].count;
        f->out->n_params = i + 1;
    }
    return 0;
}

/* Before end_step: what must not have changed since it was handed over. */
static int32_t look_back(flight *f, uint64_t batch_hash) {
    uint64_t batch;
    hash_batch(&f->t->h, &batch);
    f->out->batch_changed = batch != batch_hash;
    for (uint32_t i = 0; i < f->n; i++) {
        const toy_pass *p = &f->pass[i];
        f->out->inputs_changed += hash_inputs(p->pass) != p->inputs_hash;
        f->out->structs_changed += hash_structs(p->pass) != p->structs_hash;
        f->out->grads_changed += hash_grads(p) != p->grads_hash;
        if (record_gradients(p, f->out)) return stop(f->c, "more gradients than this suite can follow");
    }
    return record_params(f);
}

static void move_param(flight *f) {
    const uint32_t i = f->run->param;
    float *v = toy_param_values(&f->t->own, i);
    for (int64_t k = 0; k < f->t->own.param[i].count; k++)
        v[k] = (float)((double)v[k] + f->run->probe_step * (double)f->run->param_direction[k]);
}

static int32_t whole(flight *f) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    const dukd_plugin *p = f->c->plugin;
    uint64_t batch_hash;
    int given_up = 0;
    if (toy_params_open(f->c, &f->t->own, f->t->s)) return TOY_STOPPED;
    if (f->run->param_direction) move_param(f);
    f->param_values = toy_params_hash(&f->t->own, 0);
    f->param_grads = toy_params_hash(&f->t->own, 1);
    if (!f->run->keep_batch) toy_fill(&f->t->h, f->run->first_sample);
    f->t->h.first_sample = f->run->first_sample;
    hash_batch(&f->t->h, &batch_hash);
    dukd_step step = toy_step_of(f->t, f->run);
    int32_t code = p->begin_step(f->t->s, &step, &e);
    if (code != DUKD_OK) return failed(f->c, "begin_step", code, &e);
    given_up = enough(f);
    if (!given_up && (code = passes(f, &given_up))) return code;
    if (given_up) {
        code = f->out->gave_up = p->cancel_step(f->t->s, &e);
        return code == DUKD_OK || code == DUKD_WEIGHTS_MOVED ? 0 : failed(f->c, "cancel_step", code, &e);
    }
    f->out->over = 1;
    if ((code = look_back(f, batch_hash))) return code;
    if ((code = p->end_step(f->t->s, &e)) != DUKD_OK) return failed(f->c, "end_step", code, &e);
    f->out->ended = 1;
    watch_params(f, 0);
    if (f->run->wipe) memset(f->t->h.lr.memory, 0xff, f->t->h.lr.bytes);
    if (f->run->wipe) memset(f->t->h.hr.memory, 0xff, f->t->h.hr.bytes);
    return step.micro_index + 1 == step.micro_count ? take_total(f) : 0;
}

int32_t toy_step(conform *c, toy_session *t, const toy_run *run, toy_result *out) {
    flight *f = calloc(1, sizeof *f);
    memset(out, 0, sizeof *out);
    if (!f) return stop(c, "the suite is out of memory");
    *f = (flight){.c = c, .t = t, .run = run, .out = out};
    int32_t code = whole(f);
    for (uint32_t i = 0; i < TOY_MAX_PASSES; i++) toy_pass_free(&f->pass[i]);
    free(f);
    return code;
}

conform_result toy_once(conform *c, toy_setup setup, toy_run run, toy_result *out) {
    toy_session t;
    if (run.grad_scale != 0) setup.flags |= DUKD_SESSION_LOSS_SCALE;
    TRY(toy_open(c, &t, setup));
    int32_t code = toy_step(c, &t, &run, out);
    toy_close(c, &t);
    return code ? CONFORM_FAIL : CONFORM_PASS;
}

/* ---- call by call ---- */

conform_result toy_to_gradient(conform *c, toy_session *t, const toy_run *run, toy_pass *p) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    toy_fill(&t->h, run->first_sample);
    const dukd_step step = toy_step_of(t, run);
    int32_t code = c->plugin->begin_step(t->s, &step, &e);
    REQUIRE(c, code == DUKD_OK, "begin_step gave %d: %s", code, e.message);
    for (int i = 0; i < TOY_MAX_PASSES; i++) {
        *p = (toy_pass){0};
        code = c->plugin->next_pass(t->s, &p->pass, &e);
        REQUIRE(c, code == DUKD_OK, "next_pass gave %d before any pass wanted a gradient: %s", code,
                code < 0 ? e.message : "");
        REQUIRE(c, p->pass->n_taps <= TOY_MAX_TAPS, "a pass has more taps than this suite can follow");
        if (toy_pass_make(c, t, p, run, 0)) return CONFORM_FAIL;
        for (uint32_t k = 0; k < p->pass->n_taps; k++)
            if (p->grads[k].memory) return CONFORM_PASS;
        toy_submit s;
        toy_submit_of(p, run, &s);
        code = c->plugin->submit_pass(t->s, &s.submit, &e);
        REQUIRE(c, code == DUKD_OK, "submit_pass gave %d: %s", code, e.message);
        toy_pass_free(p);
    }
    return conform_fail(c, "no pass wants a gradient");
}

conform_result toy_finish(conform *c, toy_session *t, const toy_run *run) {
    dukd_error e = {.struct_size = DUKD_ERROR_SIZE};
    for (int i = 0; i < TOY_MAX_PASSES; i++) {
        toy_pass p = {0};
        toy_submit s;
        int32_t code = c->plugin->next_pass(t->s, &p.pass, &e);
        if (code == DUKD_STEP_DONE) {
            code = c->plugin->end_step(t->s, &e);
            REQUIRE(c, code == DUKD_OK, "end_step gave %d: %s", code, e.message);
            return CONFORM_PASS;
        }
        REQUIRE(c, code == DUKD_OK, "next_pass gave %d: %s", code, code < 0 ? e.message : "");
        if (toy_pass_make(c, t, &p, run, 0)) return CONFORM_FAIL;
        toy_submit_of(&p, run, &s);
        code = c->plugin->submit_pass(t->s, &s.submit, &e);
        REQUIRE(c, code == DUKD_OK, "submit_pass gave %d: %s", code, e.message);
        toy_pass_free(&p);
    }
    return conform_fail(c, "a step has more passes than this suite can follow");
}
