/* Reading a host's options by the table. */
#include "options.h"

#include "option_text.h"
#include "report.h"
#include "struct_check.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

const char *dukd_option_place(const dukd_option *given, char room[96]) {
    room[0] = '\0';
    if (given == NULL || given->place == NULL) return room;
    const size_t length = strlen(given->place), most = 80;
    const char *place = given->place;
    if (length > most) { /* line and column are at the end */
        place += length - most;
        while (((unsigned char)*place & 0xc0u) == 0x80u) place++;
    }
    snprintf(room, 96, "%s%s: ", length > most ? "..." : "", place);
    return room;
}

/* Values of a list option are all read; the table's users want the first number or the set of choices. */
static bool read_items(const dukd_option_info *row, const char *const *items, uint32_t n,
                       dukd_option_value *value, const char **wrong) {
    dukd_option_value read = {.given = value->given, .n = n};
    for (uint32_t i = 0; i < n; i++) {
        double number = 0;
        *wrong = items[i];
        if (!dukd_option_text_read(row, items[i], &number)) return false;
        if (i == 0) read.number = number;
        if (row->n_choices > 0) {
            const uint64_t bit = (uint64_t)1 << (unsigned)number;
            if ((read.set & bit) != 0) return false; /* the same choice twice */
            read.set |= bit;
        }
    }
    *value = read;
    return true;
}

#define DEFAULT_TEXT  128
#define DEFAULT_ITEMS 8

/* default_text, "0.3" or "[rec, kd]", cut into items in `text`. */
static uint32_t split_default(const dukd_option_info *row, char text[DEFAULT_TEXT],
                              const char *items[DEFAULT_ITEMS]) {
    uint32_t n = 0;
    snprintf(text, DEFAULT_TEXT, "%s", row->default_text);
    for (char *rest = text; n < DEFAULT_ITEMS;) {
        rest += strspn(rest, "[ ,]");
        if (*rest == '\0') break;
        items[n++] = rest;
        rest += strcspn(rest, ",]");
        if (*rest != '\0') *rest++ = '\0';
    }
    return n;
}

bool dukd_option_is_given(const dukd_options *options, dukd_option_id id) {
    const dukd_option *given = options->value[id].given;
    return given != NULL && given->kind != DUKD_VALUE_NULL;
}

bool dukd_option_item(const dukd_options *options, dukd_option_id id, uint32_t i, char *room, uint32_t size) {
    const dukd_option_info *row = &dukd_option_row_of(id)->info;
    char text[DEFAULT_TEXT];
    const char *items[DEFAULT_ITEMS];
    if (i >= options->value[id].n) return false;
    if (dukd_option_is_given(options, id)) {
        snprintf(room, size, "%s", options->value[id].given->values[i]);
    } else {
        const uint32_t n = split_default(row, text, items);
        assert(i < n);
        snprintf(room, size, "%s", i < n ? items[i] : "");
    }
    return true;
}

static void read_default(const dukd_option_info *row, dukd_option_value *value) {
    char text[DEFAULT_TEXT];
    const char *items[DEFAULT_ITEMS], *wrong = NULL;
    *value = (dukd_option_value){0};
    if (row->default_text == NULL) return;
    const uint32_t n = split_default(row, text, items);
    const bool right = read_items(row, items, n, value, &wrong);
    assert(right);
    (void)right;
}

/* "train.noisy" for the table's "train.noisy.prob": the first row of that section, or NULL. */
static const char *first_of_section(const char *key) {
    const size_t length = strlen(key);
    for (int id = 0; id < DUKD_OPT_COUNT; id++) {
        const char *name = dukd_option_row_of((dukd_option_id)id)->info.name;
        if (strncmp(name, key, length) == 0 && name[length] == '.') return name;
    }
    return NULL;
}

static int32_t unknown(const dukd_option *o, const char *place, dukd_error *error) {
    const char *names[DUKD_OPT_COUNT];
    for (int id = 0; id < DUKD_OPT_COUNT; id++) names[id] = dukd_option_row_of((dukd_option_id)id)->info.name;
    const char *section = first_of_section(o->key),
               *nearest = dukd_option_nearest(o->key, names, DUKD_OPT_COUNT);
    if (section != NULL) {
        return dukd_report(error, DUKD_E_OPTION,
                           "%s%s is a section: write options under it, as %s, or ~ for none", place, o->key,
                           section);
    }
    if (nearest != NULL) {
        return dukd_report(error, DUKD_E_OPTION, "%sunknown option %s; is %s meant?", place, o->key, nearest);
    }
    return dukd_report(error, DUKD_E_OPTION,
                       "%sunknown option %s, and none of the plugin's %d options is near it", place, o->key,
                       (int)DUKD_OPT_COUNT);
}

static int32_t check_struct(const dukd_option *o, uint32_t index, dukd_error *error) {
    char name[32];
    snprintf(name, sizeof name, "options[%u]", index);
    const int32_t status = dukd_struct_check(o, DUKD_OPTION_SIZE, name, error);
    if (status != DUKD_OK) return status;
    if (o->key == NULL) return dukd_report(error, DUKD_E_ARGUMENT, "%s: key is NULL", name);
    if (o->pad0 != 0) return dukd_report(error, DUKD_E_ARGUMENT, "%s (%s): pad0 is not 0", name, o->key);
    if (o->kind != DUKD_VALUE_SCALAR && o->kind != DUKD_VALUE_LIST && o->kind != DUKD_VALUE_NULL) {
        return dukd_report(error, DUKD_E_ARGUMENT, "%s (%s): kind is %u, expected one of DUKD_VALUE_...",
                           name, o->key, o->kind);
    }
    if ((o->kind == DUKD_VALUE_SCALAR && o->n_values != 1) ||
        (o->kind == DUKD_VALUE_NULL && o->n_values != 0)) {
        return dukd_report(error, DUKD_E_ARGUMENT, "%s (%s): n_values is %u for a %s", name, o->key,
                           o->n_values, o->kind == DUKD_VALUE_NULL ? "null" : "scalar");
    }
    if (o->n_values > 0 && o->values == NULL) {
        return dukd_report(error, DUKD_E_ARGUMENT, "%s (%s): values is NULL", name, o->key);
    }
    for (uint32_t i = 0; i < o->n_values; i++) {
        if (o->values[i] == NULL)
            return dukd_report(error, DUKD_E_ARGUMENT, "%s (%s): values[%u] is NULL", name, o->key, i);
    }
    return DUKD_OK;
}

static int32_t read_value(const dukd_option_info *row, dukd_option_value *value, const char *place,
                          dukd_error *error) {
    const dukd_option *o = value->given;
    const bool list = (row->type & DUKD_OPTION_LIST) != 0;
    const char *wrong = NULL;
    char found[72] = "a list", room[128];
    if (o->kind == DUKD_VALUE_NULL) return DUKD_OK; /* the default stays */
    if (o->n_values == 0) {
        snprintf(found, sizeof found, "an empty list");
    } else if (list || o->kind == DUKD_VALUE_SCALAR) {
        if (read_items(row, o->values, o->n_values, value, &wrong)) return DUKD_OK;
        snprintf(found, sizeof found, "'%.60s'", wrong);
    }
    return dukd_report(error, DUKD_E_OPTION, "%s%s: found %s, expected %s%s", place, row->name, found,
                       dukd_option_text_expected(row, room, sizeof room),
                       list && row->n_choices > 0 ? ", none twice" : "");
}

int32_t dukd_options_read(dukd_options *out, const dukd_option *const *options, uint32_t n,
                          dukd_error *error) {
    char place[96];
    for (int id = 0; id < DUKD_OPT_COUNT; id++) {
        read_default(&dukd_option_row_of((dukd_option_id)id)->info, &out->value[id]);
    }
    if (n > 0 && options == NULL)
        return dukd_report(error, DUKD_E_ARGUMENT, "params: options is NULL, n_options is %u", n);
    for (uint32_t i = 0; i < n; i++) {
        const dukd_option *o = options[i];
        int32_t status = check_struct(o, i, error);
        if (status != DUKD_OK) return status;
        int id = 0;
        while (id < DUKD_OPT_COUNT && strcmp(o->key, dukd_option_row_of((dukd_option_id)id)->info.name) != 0)
            id++;
        dukd_option_place(o, place);
        if (id == DUKD_OPT_COUNT) {
            if (o->kind == DUKD_VALUE_NULL && first_of_section(o->key) != NULL)
                continue; /* an empty section */
            return unknown(o, place, error);
        }
        dukd_option_value *value = &out->value[id];
        if (value->given != NULL) {
            return dukd_report(error, DUKD_E_OPTION, "%s%s is given twice, first at %.90s", place, o->key,
                               value->given->place != NULL ? value->given->place : "another place");
        }
        value->given = o;
        status = read_value(&dukd_option_row_of((dukd_option_id)id)->info, value, place, error);
        if (status != DUKD_OK) return status;
    }
    return DUKD_OK;
}
