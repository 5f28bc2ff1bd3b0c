/* From libyaml's events to the tree. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "yaml_tree.h"

typedef struct {
    const char *name;
    dukd_yaml_node *node;
    bool open; /* still being read: an alias to it here would contain itself */
} anchor;

typedef struct {
    yaml_parser_t parser;
    dukd_yaml *y;
    const char *file;
    unsigned column, depth; /* of the first node: added to places in line 1, levels below the root */
    anchor *anchors;
    size_t n_anchors;
    dukd_yaml_error *error;
} reader;

static dukd_yaml_place place_of(const reader *r, yaml_mark_t mark) {
    const unsigned column = (unsigned)mark.column + 1 + (mark.line == 0 ? r->column : 0);
    return (dukd_yaml_place){r->file, (unsigned)mark.line + 1, column};
}

/* What a message of libyaml's usually means, for the people who will not know. */
static const char *advice(const char *problem) {
    static const struct {
        const char *part, *advice;
    } table[] = {
        {"mapping values are not allowed", "check the indentation, and quote a text that contains \": \""},
        {"could not find expected ':'", "a line here is neither \"key: value\" nor a continued value"},
        {"did not find expected key", "check the indentation of this line and of those above"},
        {"did not find expected '-' indicator", "check the indentation of this line and of those above"},
        {"did not find expected ',' or ']'", "a list is not closed, or a comma is missing"},
        {"did not find expected ',' or '}'", "a mapping in braces is not closed, or a comma is missing"},
        {"unexpected end of stream", "a quote is not closed"},
        {"tab character", "indent with spaces"},
        {"cannot start any token",
         "quote texts that begin with a special character (% @ `), and indent with spaces"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strstr(problem, table[i].part)) return table[i].advice;
    }
    return NULL;
}

static bool syntax_error(reader *r) {
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) return dukd_yaml_fail_memory(r->error);
    const char *problem = p->problem ? p->problem : "unreadable";
    const char *hint = advice(problem);
    char context[160] = "";
    if (p->context) {
        snprintf(context, sizeof context, " (%s that begins in line %u)", p->context,
                 place_of(r, p->context_mark).line);
    }
    const dukd_yaml_place at = place_of(r, p->problem_mark);
    return dukd_yaml_fail(r->error, DUKD_YAML_WRONG, &at, "not valid YAML: %s%s%s%s", problem, context,
                          hint ? "; " : "", hint ? hint : "");
}

static bool next(reader *r, yaml_event_t *event) {
    return yaml_parser_parse(&r->parser, event) ? true : syntax_error(r);
}

static bool remember(reader *r, const yaml_char_t *name, dukd_yaml_node *node) {
    if (!name) return true;
    if (r->n_anchors == DUKD_YAML_MAX_ANCHORS) {
        return dukd_yaml_fail(r->error, DUKD_YAML_WRONG, &node->place, "more than %d anchors (&name)",
                              DUKD_YAML_MAX_ANCHORS);
    }
    if (!r->anchors) {
        r->anchors = dukd_yaml_arena_alloc(&r->y->arena, DUKD_YAML_MAX_ANCHORS * sizeof *r->anchors);
        if (!r->anchors) return dukd_yaml_fail_memory(r->error);
    }
    const char *text = (const char *)name;
    anchor *a = &r->anchors[r->n_anchors];
    a->name = dukd_yaml_keep(r->y, text, strlen(text), r->error);
    a->node = node;
    a->open = true;
    if (!a->name) return false;
    r->n_anchors++;
    return true;
}

static void complete(reader *r, const dukd_yaml_node *node) {
    for (size_t i = r->n_anchors; i-- > 0;) {
        if (r->anchors[i].node == node) r->anchors[i].open = false;
    }
}

static dukd_yaml_node *follow(reader *r, const yaml_event_t *event, unsigned depth) {
    const char *name = (const char *)event->data.alias.anchor;
    const dukd_yaml_place at = place_of(r, event->start_mark);
    for (size_t i = r->n_anchors; i-- > 0;) { /* the latest of that name counts */
        if (strcmp(r->anchors[i].name, name) != 0) continue;
        if (r->anchors[i].open) {
            dukd_yaml_fail(r->error, DUKD_YAML_WRONG, &at, "*%.80s stands inside what it refers to", name);
            return NULL;
        }
        return dukd_yaml_node_copy(r->y, r->anchors[i].node, depth, at, r->error);
    }
    dukd_yaml_fail(r->error, DUKD_YAML_WRONG, &at,
                   "*%.80s: nothing above is called &%.80s; quote a text that begins with *", name, name);
    return NULL;
}

/* A scalar's tag; false where it is none that option files use. */
static bool scalar_tag(reader *r, const yaml_event_t *event, dukd_yaml_node *node) {
    static const struct {
        const char *uri;
        dukd_yaml_tag tag;
    } tags[] = {{YAML_NULL_TAG, DUKD_YAML_TAG_NULL}, {YAML_BOOL_TAG, DUKD_YAML_TAG_BOOL},
                {YAML_INT_TAG, DUKD_YAML_TAG_INT},   {YAML_FLOAT_TAG, DUKD_YAML_TAG_FLOAT},
                {YAML_STR_TAG, DUKD_YAML_TAG_STR},   {"!", DUKD_YAML_TAG_STR}};
    const char *uri = (const char *)event->data.scalar.tag;
    if (!uri) return true;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (strcmp(uri, tags[i].uri) == 0) {
            node->tag = tags[i].tag;
            return true;
        }
    }
    return dukd_yaml_fail(r->error, DUKD_YAML_WRONG, &node->place,
                          "the tag %.100s; option files have !!float, !!int, !!bool, !!str and !!null", uri);
}

static bool text_without_zero(reader *r, const yaml_event_t *event, dukd_yaml_place at) {
    if (!memchr(event->data.scalar.value, 0, event->data.scalar.length)) return true;
    return dukd_yaml_fail(r->error, DUKD_YAML_WRONG, &at, "a text with a zero character (\\0) in it");
}

static dukd_yaml_node *read_scalar(reader *r, const yaml_event_t *event) {
    const char *text = (const char *)event->data.scalar.value;
    const size_t size = event->data.scalar.length;
    dukd_yaml_node *node =
        dukd_yaml_node_new(r->y, DUKD_YAML_SCALAR, place_of(r, event->start_mark), r->error);
    if (!node || !text_without_zero(r, event, node->place) || !scalar_tag(r, event, node) ||
        !remember(r, event->data.scalar.anchor, node)) {
        return NULL;
    }
    node->text = dukd_yaml_keep(r->y, text, size, r->error);
    /* A plain text over several lines with a line break left in it can be nothing but a string, and is written back quoted. */
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || memchr(text, '\n', size);
    if (!node->text || !dukd_yaml_scalar_settle(node, r->error)) return NULL;
    if (event->data.scalar.anchor) complete(r, node);
    return node;
}

/* Tags of lists and mappings say nothing, or something that option files do not have. */
static bool plain_collection(reader *r, const char *uri, const char *usual, dukd_yaml_place at) {
    if (!uri || strcmp(uri, usual) == 0 || strcmp(uri, "!") == 0) return true;
    return dukd_yaml_fail(r->error, DUKD_YAML_WRONG, &at, "the tag %.100s, which option files do not have",
                          uri);
}

static dukd_yaml_node *read_node(reader *r, const yaml_event_t *event, unsigned depth);

static bool read_items(reader *r, dukd_yaml_node *list, unsigned depth) {
    for (;;) {
        yaml_event_t event;
        if (!next(r, &event)) return false;
        const bool end = event.type == YAML_SEQUENCE_END_EVENT;
        dukd_yaml_node *item = end ? NULL : read_node(r, &event, depth + 1);
        yaml_event_delete(&event);
        if (end) return true;
        if (!item || !dukd_yaml_node_append(r->y, list, item, r->error)) return false;
    }
}

/* A key: a scalar. NULL: error. *merge: it is "<<". */
static const char *read_key(reader *r, const yaml_event_t *event, bool *merge) {
    const dukd_yaml_place at = place_of(r, event->start_mark);
    if (event->type != YAML_SCALAR_EVENT) {
        dukd_yaml_fail(
            r->error, DUKD_YAML_WRONG, &at,
            "a key must be a word, not a list, a mapping or an alias; quote a value that begins with { or [");
        return NULL;
    }
    const char *text = (const char *)event->data.scalar.value;
    const size_t size = event->data.scalar.length;
    const bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (event->data.scalar.tag && strcmp((const char *)event->data.scalar.tag, YAML_STR_TAG) != 0) {
        dukd_yaml_fail(r->error, DUKD_YAML_WRONG, &at, "a key with a tag (!!); keys are plain words");
        return NULL;
    }
    if (!text_without_zero(r, event, at) ||
        !dukd_yaml_key_check(text, plain && dukd_yaml_resolve(text) == DUKD_YAML_NULL ? 0 : size, at,
                             r->error)) {
        return NULL;
    }
    *merge = plain && strcmp(text, "<<") == 0;
    return dukd_yaml_keep(r->y, text, size, r->error);
}

/* The mappings that "<<: value" brings in, appended to sources. */
static bool merge_sources(reader *r, dukd_yaml_node *value, dukd_yaml_node *sources) {
    const bool list = value->kind == DUKD_YAML_LIST;
    const size_t n = list ? value->count : 1;
    for (size_t i = 0; i < n; i++) {
        dukd_yaml_node *source = list ? value->items[i] : value;
        if (source->kind != DUKD_YAML_MAPPING) {
            return dukd_yaml_fail(r->error, DUKD_YAML_WRONG, &source->place,
                                  "<< takes a mapping, usually an alias (*name), or a list of mappings");
        }
        if (!dukd_yaml_node_append(r->y, sources, source, r->error)) return false;
    }
    return true;
}

static bool read_entries(reader *r, dukd_yaml_node *mapping, unsigned depth) {
    dukd_yaml_node sources = {.kind = DUKD_YAML_LIST};
    dukd_yaml_place merged = {NULL, 0, 0};
    for (;;) {
        yaml_event_t event;
        bool merge = false;
        if (!next(r, &event)) return false;
        const bool end = event.type == YAML_MAPPING_END_EVENT;
        const dukd_yaml_place key_place = place_of(r, event.start_mark);
        const char *key = end ? NULL : read_key(r, &event, &merge);
        yaml_event_delete(&event);
        if (end) return dukd_yaml_unite(r->y, mapping, sources.items, sources.count, depth, r->error);
        if (!key || !next(r, &event)) return false;
        dukd_yaml_node *value = read_node(r, &event, depth + 1);
        yaml_event_delete(&event);
        if (!value) return false;
        if (merge) {
            if (merged.line) {
                return dukd_yaml_fail(
                    r->error, DUKD_YAML_WRONG, &key_place,
                    "the key \"<<\" is here a second time; the first is in line %u: write <<: [*a, *b]",
                    merged.line);
            }
            merged = key_place;
            if (!merge_sources(r, value, &sources)) return false;
            continue;
        }
        value->key = key;
        value->key_place = key_place;
        if (!dukd_yaml_node_append(r->y, mapping, value, r->error)) return false;
    }
}

/* The node that begins with `event` (which stays the caller's), `depth` levels below the root. */
static dukd_yaml_node *read_node(reader *r, const yaml_event_t *event, unsigned depth) {
    const dukd_yaml_place at = place_of(r, event->start_mark);
    if (event->type == YAML_ALIAS_EVENT) return follow(r, event, depth);
    if (event->type == YAML_SCALAR_EVENT) return read_scalar(r, event);
    const bool list = event->type == YAML_SEQUENCE_START_EVENT;
    if (depth >= DUKD_YAML_MAX_DEPTH) {
        dukd_yaml_fail(r->error, DUKD_YAML_WRONG, &at, "nested deeper than %d levels", DUKD_YAML_MAX_DEPTH);
        return NULL;
    }
    const yaml_char_t *uri = list ? event->data.sequence_start.tag : event->data.mapping_start.tag;
    const yaml_char_t *name = list ? event->data.sequence_start.anchor : event->data.mapping_start.anchor;
    if (!plain_collection(r, (const char *)uri, list ? YAML_SEQ_TAG : YAML_MAP_TAG, at)) return NULL;
    dukd_yaml_node *node = dukd_yaml_node_new(r->y, list ? DUKD_YAML_LIST : DUKD_YAML_MAPPING, at, r->error);
    if (!node || !remember(r, name, node)) return NULL;
    if (!(list ? read_items(r, node, depth) : read_entries(r, node, depth))) return NULL;
    if (name) complete(r, node);
    return node;
}

/* The whole stream: one document. */
static dukd_yaml_node *read_stream(reader *r) {
    yaml_event_t event;
    dukd_yaml_node *root = NULL;
    for (;;) {
        if (!next(r, &event)) return NULL;
        const yaml_event_type_t type = event.type;
        const dukd_yaml_place at = place_of(r, event.start_mark);
        bool ok = true;
        if (type == YAML_DOCUMENT_START_EVENT && root) {
            ok = dukd_yaml_fail(r->error, DUKD_YAML_WRONG, &at,
                                "a second document (---) begins here; an option file is one document");
        } else if (type == YAML_STREAM_END_EVENT && !root) {
            ok = dukd_yaml_fail(r->error, DUKD_YAML_WRONG, &at, "the file is empty: no options in it");
        } else if (type != YAML_STREAM_START_EVENT && type != YAML_STREAM_END_EVENT &&
                   type != YAML_DOCUMENT_START_EVENT && type != YAML_DOCUMENT_END_EVENT) {
            root = read_node(r, &event, r->depth);
            ok = root != NULL;
        }
        yaml_event_delete(&event);
        if (!ok) return NULL;
        if (type == YAML_STREAM_END_EVENT) return root;
    }
}

dukd_yaml_node *dukd_yaml_parse(dukd_yaml *y, const char *text, size_t size, const char *file, unsigned depth,
                                unsigned column, dukd_yaml_error *error) {
    reader r = {.y = y, .column = column, .depth = depth, .error = error};
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
        text += 3;
        size -= 3;
    }
    r.file = dukd_yaml_keep(y, file, strlen(file), error);
    if (!r.file) return NULL;
    const dukd_yaml_place start = {r.file, 1, 1 + column};
    if (!dukd_yaml_text_check(text, size, start, error)) return NULL;
    if (!yaml_parser_initialize(&r.parser)) {
        dukd_yaml_fail_memory(error);
        return NULL;
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, size);
    dukd_yaml_node *root = read_stream(&r);
    yaml_parser_delete(&r.parser);
    return root;
}

dukd_yaml *dukd_yaml_read_text(const char *text, size_t size, const char *name, dukd_yaml_error *error) {
    dukd_yaml *y = dukd_yaml_create(error);
    if (!y) return NULL;
    y->root = dukd_yaml_parse(y, text, size, name, 0, 0, error);
    if (y->root && y->root->kind != DUKD_YAML_MAPPING) {
        char found[DUKD_YAML_DESCRIPTION];
        dukd_yaml_describe(y->root, found);
        dukd_yaml_fail(error, DUKD_YAML_WRONG, &y->root->place,
                       "an option file consists of \"key: value\" lines; found %s", found);
        y->root = NULL;
    }
    if (y->root) return y;
    dukd_yaml_destroy(y);
    return NULL;
}

dukd_yaml *dukd_yaml_read_file(const char *path, dukd_yaml_error *error) {
    size_t size;
    char *text = dukd_yaml_load(path, &size, error);
    if (!text) return NULL;
    dukd_yaml *y = dukd_yaml_read_text(text, size, path, error);
    free(text);
    return y;
}
