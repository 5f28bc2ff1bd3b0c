/* Group options: what is written in an option file, as text with its place. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "conform.h"
#include "toy_step.h"

enum { MOST_OPTIONS = 65, MOST_ITEMS = 16 };

#define PLACE "some.yml:12:5"

/* create_session with the options of the command line and this one, which comes in the place of one of the same key. */
static int32_t create_with(conform *c, toy_session *t, const dukd_option *option, dukd_error *e) {
    const dukd_option *list[MOST_OPTIONS];
    uint32_t n = 0;
    *e = (dukd_error){.struct_size = DUKD_ERROR_SIZE};
    for (uint32_t i = 0; i < c->n_options && n + 1 < MOST_OPTIONS; i++)
        if (!option || !option->key || strcmp(option->key, c->options[i]->key) != 0)
            list[n++] = c->options[i];
    list[n++] = option;
    t->params.options = list;
    t->params.n_options = n;
    t->s = NULL;
    int32_t code = c->plugin->create_session(&t->params, &t->s, e);
    t->params.options = NULL;
    t->params.n_options = 0;
    return code;
}

static dukd_option scalar(const char *key, const char *const *value) {
    return (dukd_option){.struct_size = DUKD_OPTION_SIZE,
                         .kind = DUKD_VALUE_SCALAR,
                         .key = key,
                         .place = PLACE,
                         .values = value,
                         .n_values = 1};
}

static int is_given(const conform *c, const char *key) {
    for (uint32_t i = 0; i < c->n_options; i++)
        if (strcmp(c->options[i]->key, key) == 0) return 1;
    return 0;
}

/* The option was refused, and the message says which and where. */
static conform_result refused(conform *c, const char *key, const char *value, int32_t code,
                              const dukd_error *e) {
    REQUIRE(c, code == DUKD_E_OPTION, "%s: %s: create_session gave %d, not %d: %s", key, value, code,
            DUKD_E_OPTION, e->message);
    REQUIRE(c, strstr(e->message, PLACE), "%s: %s: the message does not give the place, " PLACE ": %s", key,
            value, e->message);
    REQUIRE(c, strstr(e->message, key), "%s: %s: the message does not name the option: %s", key, value,
            e->message);
    return CONFORM_PASS;
}

static conform_result unknown_option(conform *c) {
    toy_session t;
    dukd_error e;
    char key[256];
    const char *value = "1", *name = "";
    const dukd_plugin_info *info = c->plugin->get_info();
    if (!info->n_options) return conform_skip(c, "the plugin has no options");
    TRY(toy_open(c, &t, (toy_setup){0}));
    toy_destroy(c, &t);
    /* the longest, so that no other name is as near to it when it is mistyped */
    for (uint32_t i = 0; i < info->n_options; i++)
        if (strlen(info->options[i]->name) > strlen(name)) name = info->options[i]->name;
    snprintf(key, sizeof key, "%sx", name);
    dukd_option option = scalar(key, &value);
    TRY(refused(c, key, value, create_with(c, &t, &option, &e), &e));
    const char *first = strstr(e.message, name);
    REQUIRE(c, first && strstr(first + 1, name), "the message does not name the nearest known option, %s: %s",
            name, e.message);
    option.key = "?";
    int32_t code = create_with(c, &t, &option, &e);
    REQUIRE(c, code == DUKD_E_OPTION, "an option that is near none: create_session gave %d", code);
    toy_close(c, &t);
    return CONFORM_PASS;
}

static conform_result wrong_option(conform *c) {
    toy_session t;
    dukd_error e;
    int tried = 0;
    const dukd_plugin_info *info = c->plugin->get_info();
    TRY(toy_open(c, &t, (toy_setup){0}));
    toy_destroy(c, &t);
    for (uint32_t i = 0; i < info->n_options; i++) {
        const dukd_option_info *o = info->options[i];
        uint32_t base = o->type & ~DUKD_OPTION_LIST;
        const char *wrong[] = {"no such value", "", "1x", base == DUKD_OPTION_INT ? "1.5" : "?"};
        if (base == DUKD_OPTION_STRING && !o->n_choices) continue;
        for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
            int is_choice = 0;
            for (uint32_t n = 0; n < o->n_choices; n++) is_choice |= strcmp(o->choices[n], wrong[k]) == 0;
            if (is_choice) continue;
            dukd_option option = scalar(o->name, &wrong[k]);
            TRY(refused(c, o->name, wrong[k], create_with(c, &t, &option, &e), &e));
        }
        const char *both[] = {o->n_choices ? o->choices[0] : "1", o->n_choices ? o->choices[0] : "1"};
        dukd_option option = scalar(o->name, both);
        option.kind = DUKD_VALUE_LIST;
        option.n_values = 2;
        if (!(o->type & DUKD_OPTION_LIST))
            TRY(refused(c, o->name, "a list", create_with(c, &t, &option, &e), &e));
        tried++;
    }
    toy_close(c, &t);
    return tried ? CONFORM_PASS : conform_skip(c, "no option has a type that can be wrong");
}

static conform_result out_of_range(conform *c) {
    toy_session t;
    dukd_error e;
    int tried = 0;
    const dukd_plugin_info *info = c->plugin->get_info();
    TRY(toy_open(c, &t, (toy_setup){0}));
    toy_destroy(c, &t);
    for (uint32_t i = 0; i < info->n_options; i++) {
        const dukd_option_info *o = info->options[i];
        uint32_t base = o->type & ~DUKD_OPTION_LIST;
        if (base != DUKD_OPTION_INT && base != DUKD_OPTION_FLOAT) continue;
        const double outside[] = {o->max + fabs(o->max) + 1, o->min - fabs(o->min) - 1, INFINITY, NAN};
        for (size_t k = 0; k < sizeof outside / sizeof *outside; k++) {
            char text[400];
            const char *value = text;
            if (outside[k] >= o->min && outside[k] <= o->max) continue;
            if (isinf(outside[k]) && k < 2) continue; /* no limit there */
            snprintf(text, sizeof text, base == DUKD_OPTION_INT && isfinite(outside[k]) ? "%.0f" : "%g",
                     outside[k]);
            dukd_option option = scalar(o->name, &value);
            TRY(refused(c, o->name, text, create_with(c, &t, &option, &e), &e));
            tried++;
        }
    }
    toy_close(c, &t);
    return tried ? CONFORM_PASS : conform_skip(c, "no option is a number with a range");
}

static conform_result bad_options(conform *c) {
    toy_session t;
    dukd_error e;
    const dukd_plugin_info *info = c->plugin->get_info();
    if (!info->n_options) return conform_skip(c, "the plugin has no options");
    TRY(toy_open(c, &t, (toy_setup){0}));
    toy_destroy(c, &t);
    const char *text = "1", *none = NULL;
    const dukd_option good = scalar(info->options[0]->name, &text);
    struct {
        const char *what;
        dukd_option o;
    } bad[] = {{"key NULL", good},
               {"values NULL", good},
               {"a value NULL", good},
               {"kind 0", good},
               {"kind 99", good},
               {"a scalar of two values", good},
               {"a scalar of no value", good},
               {"a null of one value", good},
               {"pad0 not zero", good}};
    bad[0].o.key = NULL;
    bad[1].o.values = NULL;
    bad[2].o.values = &none;
    bad[3].o.kind = 0;
    bad[4].o.kind = 99;
    bad[5].o.values = (const char *const[]){text, text}, bad[5].o.n_values = 2;
    bad[6].o.n_values = 0;
    bad[7].o.kind = DUKD_VALUE_NULL;
    bad[8].o.pad0 = 1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int32_t code = create_with(c, &t, &bad[i].o, &e);
        REQUIRE(c, code == DUKD_E_ARGUMENT && e.message[0], "an option with %s: create_session gave %d: %s",
                bad[i].what, code, e.message);
    }
    int32_t code = create_with(c, &t, NULL, &e);
    REQUIRE(c, code == DUKD_E_ARGUMENT, "an option that is NULL: create_session gave %d", code);
    /* without a place there is a message all the same */
    dukd_option homeless = scalar("no.such.option", &text);
    homeless.place = NULL;
    code = create_with(c, &t, &homeless, &e);
    REQUIRE(c, code == DUKD_E_OPTION && strstr(e.message, homeless.key),
            "an unknown option without a place: create_session gave %d: %s", code, e.message);
    toy_close(c, &t);
    return CONFORM_PASS;
}

/* ---- values that are right ---- */

/* The items of "[a, b]" or "a"; `room` holds their text. */
static uint32_t split(const char *text, char room[512], const char *items[MOST_ITEMS]) {
    uint32_t n = 0;
    char *rest = NULL;
    snprintf(room, 512, "%s", text);
    for (char *item = strtok_r(room, "[], ", &rest); item && n < MOST_ITEMS;
         item = strtok_r(NULL, "[], ", &rest))
        items[n++] = item;
    return n;
}

/* A step with the option: PASS and a result; or SKIP where the option does not go together with the others. */
static conform_result step_with(conform *c, const dukd_option *option, toy_result *out) {
    toy_session t;
    dukd_error e;
    TRY(toy_prepare(c, &t, (toy_setup){0}));
    int32_t code = create_with(c, &t, option, &e);
    if (code == DUKD_E_OPTION) {
        toy_close(c, &t);
        return CONFORM_SKIP;
    }
    REQUIRE(c, code == DUKD_OK, "%s, written as its default: create_session gave %d: %s", option->key, code,
            e.message);
    if (toy_step(c, &t, &(toy_run){0}, out)) return CONFORM_FAIL;
    toy_close(c, &t);
    return CONFORM_PASS;
}

static conform_result defaults(conform *c) {
    const dukd_plugin_info *info = c->plugin->get_info();
    toy_result plain, with;
    int tried = 0;
    TRY(toy_once(c, (toy_setup){0}, (toy_run){0}, &plain));
    for (uint32_t i = 0; i < info->n_options; i++) {
        const dukd_option_info *o = info->options[i];
        char room[512];
        const char *items[MOST_ITEMS] = {o->default_text};
        if (!o->default_text || is_given(c, o->name)) continue;
        dukd_option option = scalar(o->name, items);
        if (o->type & DUKD_OPTION_LIST) {
            option.kind = DUKD_VALUE_LIST;
            option.n_values = split(o->default_text, room, items);
        }
        conform_result r = step_with(c, &option, &with);
        if (r == CONFORM_SKIP) continue;
        TRY(r);
        REQUIRE(c, toy_identical(&plain, &with), "%s: its default, %s, is not what happens without it",
                o->name, o->default_text);
        toy_result_free(&with);
        tried++;
    }
    toy_result_free(&plain);
    return tried ? CONFORM_PASS : conform_skip(c, "no option with a default could be written");
}

static conform_result list_of_one(conform *c) {
    const dukd_plugin_info *info = c->plugin->get_info();
    int tried = 0;
    toy_session t;
    TRY(toy_open(c, &t, (toy_setup){0})); /* a session can be made at all */
    toy_close(c, &t);
    for (uint32_t i = 0; i < info->n_options; i++) {
        const dukd_option_info *o = info->options[i];
        char room[512];
        const char *items[MOST_ITEMS];
        toy_result as_scalar, as_list;
        if (!(o->type & DUKD_OPTION_LIST) || !o->default_text || !split(o->default_text, room, items))
            continue;
        dukd_option option = scalar(o->name, items);
        conform_result a = step_with(c, &option, &as_scalar);
        if (a == CONFORM_FAIL) return a;
        option.kind = DUKD_VALUE_LIST;
        conform_result b = step_with(c, &option, &as_list);
        if (b == CONFORM_FAIL) return b;
        REQUIRE(c, a == b && (a == CONFORM_SKIP || toy_identical(&as_scalar, &as_list)),
                "%s: %s and [%s] are not the same", o->name, items[0], items[0]);
        tried += a == CONFORM_PASS;
        if (a != CONFORM_PASS) continue;
        toy_result_free(&as_scalar);
        toy_result_free(&as_list);
    }
    return tried ? CONFORM_PASS : conform_skip(c, "no option is a list that could be written here");
}

static const conform_check checks[] = {
    {"unknown-option",
     "an unknown option is DUKD_E_OPTION with its place and the nearest known name (abi/README.md, rule 7)",
     unknown_option},
    {"wrong-option", "a value of the wrong type is DUKD_E_OPTION with key and place (dukd_option_info.type)",
     wrong_option},
    {"out-of-range", "a number out of its range is DUKD_E_OPTION with key and place (dukd_option_info.min)",
     out_of_range},
    {"bad-options",
     "a dukd_option that is not well-formed is DUKD_E_ARGUMENT; place may be NULL (dukd_option)",
     bad_options},
    {"defaults", "an option written as its default changes nothing (dukd_option_info.default_text)",
     defaults},
    {"list-of-one", "a scalar counts as a list of one (DUKD_OPTION_LIST)", list_of_one},
};
const conform_group conform_options = {"options", "what is written in an option file", 0, checks,
                                       sizeof checks / sizeof *checks};
