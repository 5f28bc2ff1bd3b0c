/* The opcodes of a pickle. */
#include "tensors/pickle.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensors/pickle_machine.h"

bool dukd_pickle_wrong(dukd_machine *m, const char *format, ...) {
    char words[600];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    dukd_fail(m->f, DUKD_FAILED, "%s: its pickle is damaged at byte %zu: %s", m->path,
              m->place + (size_t)(m->at - m->start), words);
    return false;
}

static bool no_memory(dukd_machine *m, size_t bytes) {
    dukd_fail(m->f, DUKD_FAILED, "%s: out of memory: reading its pickle needs %zu bytes more", m->path,
              bytes);
    return false;
}

/* Room for one element more. Counts stay below 2 DUKD_PICKLE_MAX_STEPS, so that nothing overflows. */
static bool grow(dukd_machine *m, void **array, uint32_t count, uint32_t *room, size_t element) {
    if (count < *room) return true;
    const uint32_t wanted = *room ? 2 * *room : 64;
    void *larger = realloc(*array, (size_t)wanted * element);
    if (!larger) return no_memory(m, (size_t)wanted * element);
    *array = larger;
    *room = wanted;
    return true;
}

dukd_py_value *dukd_pickle_value(dukd_machine *m, dukd_py i) {
    return &m->p->values[i];
}

bool dukd_pickle_push(dukd_machine *m, dukd_py value) {
    void *stack = m->stack;
    if (++m->steps > DUKD_PICKLE_MAX_STEPS)
        return dukd_pickle_wrong(m, "it makes more than %d values", DUKD_PICKLE_MAX_STEPS);
    const bool grown = grow(m, &stack, m->depth, &m->room, sizeof *m->stack);
    m->stack = stack;
    if (!grown) return false;
    m->stack[m->depth++] = value;
    return true;
}

static void free_value(dukd_py_value *v) {
    if (v->kind == DUKD_PY_LIST || v->kind == DUKD_PY_TUPLE || v->kind == DUKD_PY_DICT) free(v->is.items.at);
}

bool dukd_pickle_make(dukd_machine *m, dukd_py_value value) {
    dukd_pickle *p = m->p;
    void *values = p->values;
    const bool grown = grow(m, &values, p->count, &p->room, sizeof *p->values);
    p->values = values;
    if (!grown) return false;
    p->values[p->count++] = value;
    return dukd_pickle_push(m, p->count - 1);
}

bool dukd_pickle_pop(dukd_machine *m, dukd_py *value) {
    const uint32_t floor = m->mark_count ? m->marks[m->mark_count - 1] : 0;
    if (m->depth <= floor) return dukd_pickle_wrong(m, "a value is missing");
    *value = m->stack[--m->depth];
    return true;
}

bool dukd_pickle_extend(dukd_machine *m, dukd_py to, const dukd_py *from, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        dukd_py_value *v = dukd_pickle_value(m, to);
        void *items = v->is.items.at;
        const bool grown = grow(m, &items, v->is.items.count, &v->is.items.room, sizeof *from);
        v->is.items.at = items;
        if (!grown) return false;
        v->is.items.at[v->is.items.count++] = from[i];
    }
    return true;
}

/* ---------------------------------------------------------------- arguments in the program */

static bool take(dukd_machine *m, size_t size, const unsigned char **out) {
    if (size > (size_t)(m->end - m->at))
        return dukd_pickle_wrong(m, "it ends in the middle: the file may have been cut short");
    *out = m->at;
    m->at += size;
    return true;
}

static bool take_number(dukd_machine *m, size_t bytes, uint64_t *out) {
    const unsigned char *at = NULL;
    if (!take(m, bytes, &at)) return false;
    *out = 0;
    for (size_t i = bytes; i-- > 0;) *out = *out << 8 | at[i];
    return true;
}

/* A length of `bytes` bytes and as many bytes of text. */
static bool take_text(dukd_machine *m, size_t bytes, dukd_py_text *out) {
    uint64_t size;
    if (!take_number(m, bytes, &size)) return false;
    if (size > (size_t)(m->end - m->at))
        return dukd_pickle_wrong(m, "a text should have %llu bytes, but the rest has %zu",
                                 (unsigned long long)size, (size_t)(m->end - m->at));
    out->size = (size_t)size;
    return take(m, out->size, &out->at);
}

static bool take_line(dukd_machine *m, dukd_py_text *out) {
    const unsigned char *end = memchr(m->at, '\n', (size_t)(m->end - m->at));
    if (!end) return dukd_pickle_wrong(m, "a name has no end: the file may have been cut short");
    *out = (dukd_py_text){m->at, (size_t)(end - m->at)};
    m->at = end + 1;
    return true;
}

/* ---------------------------------------------------------------- values */

static bool make_integer(dukd_machine *m, dukd_py_kind kind, int64_t value) {
    return dukd_pickle_make(m, (dukd_py_value){.kind = kind, .is.integer = value});
}

static bool make_unsigned(dukd_machine *m, size_t bytes) {
    uint64_t value;
    return take_number(m, bytes, &value) && make_integer(m, DUKD_PY_INT, (int64_t)value);
}

static bool make_signed(dukd_machine *m) {
    uint64_t value;
    return take_number(m, 4, &value) && make_integer(m, DUKD_PY_INT, (int32_t)(uint32_t)value);
}

/* LONG1 and LONG4: two's complement of any length. */
static bool make_long(dukd_machine *m, size_t bytes) {
    dukd_py_text t;
    if (!take_text(m, bytes, &t)) return false;
    if (t.size > 8) return dukd_pickle_make(m, (dukd_py_value){.kind = DUKD_PY_LONG, .is.text = t});
    uint64_t value = t.size && t.at[t.size - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = t.size; i-- > 0;) value = value << 8 | t.at[i];
    return make_integer(m, DUKD_PY_INT, (int64_t)value);
}

static bool make_float(dukd_machine *m) {
    const unsigned char *at = NULL;
    uint64_t bits = 0;
    double value;
    if (!take(m, 8, &at)) return false;
    for (int i = 0; i < 8; i++) bits = bits << 8 | at[i]; /* big endian, unlike all else */
    memcpy(&value, &bits, sizeof value);
    return dukd_pickle_make(m, (dukd_py_value){.kind = DUKD_PY_FLOAT, .is.real = value});
}

static bool make_text(dukd_machine *m, size_t bytes) {
    dukd_py_text t;
    return take_text(m, bytes, &t) &&
           dukd_pickle_make(m, (dukd_py_value){.kind = DUKD_PY_TEXT, .is.text = t});
}

static bool make_empty(dukd_machine *m, dukd_py_kind kind) {
    return dukd_pickle_make(m, (dukd_py_value){.kind = kind});
}

static bool set_mark(dukd_machine *m) {
    void *marks = m->marks;
    if (++m->steps > DUKD_PICKLE_MAX_STEPS)
        return dukd_pickle_wrong(m, "it makes more than %d values", DUKD_PICKLE_MAX_STEPS);
    const bool grown = grow(m, &marks, m->mark_count, &m->mark_room, sizeof *m->marks);
    m->marks = marks;
    if (grown) m->marks[m->mark_count++] = m->depth;
    return grown;
}

/* The values above the last mark, which is taken off with them: they stay where they are until the next push. */
static bool take_marked(dukd_machine *m, const dukd_py **from, uint32_t *n) {
    if (!m->mark_count) return dukd_pickle_wrong(m, "a mark is missing");
    const uint32_t mark = m->marks[--m->mark_count];
    *from = m->stack + mark;
    *n = m->depth - mark;
    m->depth = mark;
    return true;
}

/* The last n values, or (n < 0) those above the mark, as one collection. */
static bool collect(dukd_machine *m, dukd_py_kind kind, int n) {
    dukd_py taken[3] = {0};
    const dukd_py *from = taken;
    uint32_t count = (uint32_t)n;
    if (n < 0) {
        if (!take_marked(m, &from, &count)) return false;
    } else {
        for (int i = n; i-- > 0;)
            if (!dukd_pickle_pop(m, &taken[i])) return false;
    }
    if (kind == DUKD_PY_DICT && count % 2)
        return dukd_pickle_wrong(m, "a dictionary has a key without a value");
    /* The push would overwrite what `from` shows: the collection is filled first and then pushed. */
    dukd_py_value made = {.kind = kind};
    if (count) {
        made.is.items.at = malloc(count * sizeof *from);
        if (!made.is.items.at) return no_memory(m, count * sizeof *from);
        memcpy(made.is.items.at, from, count * sizeof *from);
        made.is.items.count = made.is.items.room = count;
    }
    const uint32_t before = m->p->count;
    if (dukd_pickle_make(m, made)) return true;
    if (m->p->count == before) free_value(&made);
    return false;
}

/* APPEND, APPENDS, SETITEM, SETITEMS: n values, or (n < 0) those above the mark, added to what lies below them. */
static bool add_items(dukd_machine *m, dukd_py_kind kind, int n) {
    dukd_py taken[2] = {0}, to = 0;
    const dukd_py *from = taken;
    uint32_t count = (uint32_t)n;
    if (n < 0) {
        if (!take_marked(m, &from, &count)) return false;
    } else {
        for (int i = n; i-- > 0;)
            if (!dukd_pickle_pop(m, &taken[i])) return false;
    }
    if (!dukd_pickle_pop(m, &to)) return false;
    if (dukd_pickle_value(m, to)->kind != kind)
        return dukd_pickle_wrong(m, "something is put into what is no %s",
                                 kind == DUKD_PY_LIST ? "list" : "dictionary");
    if (kind == DUKD_PY_DICT && count % 2)
        return dukd_pickle_wrong(m, "a dictionary has a key without a value");
    return dukd_pickle_extend(m, to, from, count) && dukd_pickle_push(m, to);
}

/* ---------------------------------------------------------------- memo */

/* Writers number the memo from 0 (Python 2's from 1), one after the other: a number beyond is no writer's. */
static bool put(dukd_machine *m, uint64_t number) {
    void *memo = m->memo;
    if (!m->depth) return dukd_pickle_wrong(m, "a value is missing");
    if (number > (uint64_t)m->memo_count + 1)
        return dukd_pickle_wrong(m, "memo number %llu follows %u", (unsigned long long)number, m->memo_count);
    if (++m->steps > DUKD_PICKLE_MAX_STEPS)
        return dukd_pickle_wrong(m, "it makes more than %d values", DUKD_PICKLE_MAX_STEPS);
    while (m->memo_count <= number) {
        const bool grown = grow(m, &memo, m->memo_count, &m->memo_room, sizeof *m->memo);
        m->memo = memo;
        if (!grown) return false;
        m->memo[m->memo_count++] = DUKD_PY_UNSET;
    }
    m->memo[number] = m->stack[m->depth - 1];
    return true;
}

static bool get(dukd_machine *m, size_t bytes) {
    uint64_t number;
    if (!take_number(m, bytes, &number)) return false;
    if (number >= m->memo_count || m->memo[number] == DUKD_PY_UNSET)
        return dukd_pickle_wrong(m, "memo number %llu was never written", (unsigned long long)number);
    return dukd_pickle_push(m, m->memo[number]);
}

static bool put_numbered(dukd_machine *m, size_t bytes) {
    uint64_t number;
    return take_number(m, bytes, &number) && put(m, number);
}

/* ---------------------------------------------------------------- the loop */

static bool global_of_lines(dukd_machine *m) {
    dukd_py_text module, name;
    return take_line(m, &module) && take_line(m, &name) && dukd_pickle_global(m, module, name);
}

static bool global_of_stack(dukd_machine *m) {
    dukd_py module = 0, name = 0;
    if (!dukd_pickle_pop(m, &name) || !dukd_pickle_pop(m, &module)) return false;
    const dukd_py_value *a = dukd_pickle_value(m, module), *b = dukd_pickle_value(m, name);
    if (a->kind != DUKD_PY_TEXT || b->kind != DUKD_PY_TEXT) return dukd_pickle_wrong(m, "a name is no text");
    return dukd_pickle_global(m, a->is.text, b->is.text);
}

static bool protocol(dukd_machine *m) {
    uint64_t version;
    if (!take_number(m, 1, &version)) return false;
    if (version >= 2 && version <= 5) return true;
    return dukd_pickle_wrong(m, "it has protocol %llu, not one from 2 to 5", (unsigned long long)version);
}

static bool frame(dukd_machine *m) {
    uint64_t size;
    if (!take_number(m, 8, &size)) return false;
    if (size <= (uint64_t)(m->end - m->at)) return true;
    return dukd_pickle_wrong(m, "a frame should have %llu bytes, but the rest has %zu",
                             (unsigned long long)size, (size_t)(m->end - m->at));
}

static bool step(dukd_machine *m, int op) {
    switch (op) {
    case 0x80:
        return protocol(m);
    case 0x95:
        return frame(m);
    case 'N':
        return make_empty(m, DUKD_PY_NONE);
    case 0x88:
        return make_integer(m, DUKD_PY_BOOL, 1);
    case 0x89:
        return make_integer(m, DUKD_PY_BOOL, 0);
    case 'K':
        return make_unsigned(m, 1);
    case 'M':
        return make_unsigned(m, 2);
    case 'J':
        return make_signed(m);
    case 0x8a:
        return make_long(m, 1);
    case 0x8b:
        return make_long(m, 4);
    case 'G':
        return make_float(m);
    case 'X':
        return make_text(m, 4);
    case 0x8c:
        return make_text(m, 1);
    case 0x8d:
        return make_text(m, 8);
    case 'T':
        return make_text(m, 4); /* Python 2's str */
    case 'U':
        return make_text(m, 1);
    case '(':
        return set_mark(m);
    case ')':
        return make_empty(m, DUKD_PY_TUPLE);
    case ']':
        return make_empty(m, DUKD_PY_LIST);
    case '}':
        return make_empty(m, DUKD_PY_DICT);
    case 0x85:
        return collect(m, DUKD_PY_TUPLE, 1);
    case 0x86:
        return collect(m, DUKD_PY_TUPLE, 2);
    case 0x87:
        return collect(m, DUKD_PY_TUPLE, 3);
    case 't':
        return collect(m, DUKD_PY_TUPLE, -1);
    case 'l':
        return collect(m, DUKD_PY_LIST, -1);
    case 'd':
        return collect(m, DUKD_PY_DICT, -1);
    case 'a':
        return add_items(m, DUKD_PY_LIST, 1);
    case 'e':
        return add_items(m, DUKD_PY_LIST, -1);
    case 's':
        return add_items(m, DUKD_PY_DICT, 2);
    case 'u':
        return add_items(m, DUKD_PY_DICT, -1);
    case 'q':
        return put_numbered(m, 1);
    case 'r':
        return put_numbered(m, 4);
    case 0x94:
        return put(m, m->memo_count);
    case 'h':
        return get(m, 1);
    case 'j':
        return get(m, 4);
    case 'c':
        return global_of_lines(m);
    case 0x93:
        return global_of_stack(m);
    case 'R':
        return dukd_pickle_reduce(m);
    case 'b':
        return dukd_pickle_build(m);
    case 'Q':
        return dukd_pickle_persistent(m);
    default:
        return dukd_pickle_wrong(m, "it has the opcode 0x%02x, which files of tensors do not use", op);
    }
}

static bool run(dukd_machine *m) {
    for (;;) {
        const unsigned char *op = NULL;
        if (!take(m, 1, &op)) return false;
        if (*op == '.') break;
        if (!step(m, *op)) return false;
    }
    if (m->mark_count) return dukd_pickle_wrong(m, "it ends with a mark that nothing has used");
    if (!dukd_pickle_pop(m, &m->p->root)) return false;
    return m->depth == 0 || dukd_pickle_wrong(m, "it ends with more than one value");
}

int dukd_pickle_read(dukd_pickle **out, const unsigned char *bytes, size_t size, size_t place, size_t *used,
                     const char *path, dukd_failure *f) {
    dukd_machine m = {.start = bytes, .at = bytes, .place = place, .path = path, .f = f};
    *out = NULL;
    m.end = bytes + (size < DUKD_PICKLE_MAX_BYTES ? size : DUKD_PICKLE_MAX_BYTES);
    m.p = calloc(1, sizeof *m.p);
    if (!m.p) return dukd_fail_memory(f, "a pickle", sizeof *m.p);
    const bool good = run(&m);
    free(m.stack);
    free(m.marks);
    free(m.memo);
    *used = (size_t)(m.at - bytes);
    if (good)
        *out = m.p;
    else
        dukd_pickle_destroy(m.p);
    return good ? DUKD_DONE : DUKD_FAILED;
}

void dukd_pickle_destroy(dukd_pickle *p) {
    if (!p) return;
    for (uint32_t i = 0; i < p->count; i++) free_value(&p->values[i]);
    free(p->values);
    free(p);
}

/* ---------------------------------------------------------------- reading */

dukd_py dukd_pickle_root(const dukd_pickle *p) {
    return p->root;
}
uint32_t dukd_pickle_count(const dukd_pickle *p) {
    return p->count;
}
const dukd_py_value *dukd_pickle_at(const dukd_pickle *p, dukd_py i) {
    return &p->values[i];
}

int dukd_pickle_is_text(const dukd_pickle *p, dukd_py i, const char *text) {
    const dukd_py_value *v = &p->values[i];
    return v->kind == DUKD_PY_TEXT && v->is.text.size == strlen(text) &&
           memcmp(v->is.text.at, text, v->is.text.size) == 0;
}

const dukd_py_value *dukd_pickle_find(const dukd_pickle *p, const dukd_py_value *dict, const char *key) {
    if (dict->kind != DUKD_PY_DICT) return NULL;
    for (uint32_t i = dict->is.items.count; i >= 2; i -= 2)
        if (dukd_pickle_is_text(p, dict->is.items.at[i - 2], key))
            return &p->values[dict->is.items.at[i - 1]];
    return NULL;
}
