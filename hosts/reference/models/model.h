/* The networks that the reference host knows, by the names and the options of BasicSR's option files.
 *
 *     settings (text, from any option file)  --dukd_model_spec_read-->  spec (checked numbers)
 * --dukd_model_build-->  graph
 *
 * A network is one file: a table of its options and a function that builds its graph from their values. To
 * add one, write the file and add its dukd_model_type to the list in model.c.
 *
 * [thread-safe: the tables are constant, everything else is the caller's] */
#ifndef DUKD_MODEL_H
#define DUKD_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"
#include "graph/graph.h"

#define DUKD_MODEL_MAX_OPTIONS 24 /* of one network */
#define DUKD_MODEL_MAX_LIST    16 /* values of one option */

/* ---- what a network says of itself ---- */

typedef enum {
    DUKD_MODEL_INT,    /* a whole number */
    DUKD_MODEL_FLOAT,  /* a finite number */
    DUKD_MODEL_FLOATS, /* a list of `count` finite numbers */
    DUKD_MODEL_INTS,   /* a list of 1 to DUKD_MODEL_MAX_LIST whole numbers */
    DUKD_MODEL_BOOL,   /* true (1) or false (0) */
    DUKD_MODEL_WORD,   /* one of `words`, by its place among them */
    DUKD_MODEL_NULL,   /* null and nothing else: an option of which we have the default only */
} dukd_model_option_kind;

typedef struct {
    const char *name; /* as in an option file: "num_feat" */
    dukd_model_option_kind kind;
    int32_t count;            /* FLOATS: how many; INTS: how many the default has; otherwise 1 */
    int32_t required;         /* 1: has no default */
    const double *start;      /* the default, `count` numbers; NULL where required */
    double least, most;       /* each number lies in least..most */
    const char *help;         /* one sentence, for --help */
    const char *const *words; /* WORD: ends with NULL; an empty word may be written as null too */
} dukd_model_option;

/* The value of one option: numbers[0] unless the option is a list. Integers are exact. */
typedef struct {
    int32_t count;
    double numbers[DUKD_MODEL_MAX_LIST];
} dukd_model_value;

/* Another name of a layer: that in the checkpoints of the network's authors. A '#' stands for a number; the k-th '#' of
 * `ours` is the number of the k-th of `theirs`. */
typedef struct {
    const char *theirs; /* "body.#.body.0" */
    const char *ours; /* "body.#.conv1"; NULL where `mean` is set, and for a part that the graph leaves out */
    int32_t
        mean; /* -1, 1: a layer that takes the mean colour off, puts it back: constants of our graph, which the file's
                   * must be equal to. 0: any other layer */
} dukd_model_alias;

typedef struct dukd_model_type {
    const char *name; /* BasicSR's class: "EDSR" */
    const char *help; /* one sentence and the paper */
    const dukd_model_option *options;
    int32_t option_count;
    /* Builds the graph, all but dukd_graph_finish, and returns its output. values[i] belongs to options[i]
     * and is within its range. What ranges cannot say (two options that contradict each other) goes to *f:
     * DUKD_MISUSED, the message starting with the option's name. Mistakes in the graph itself are reported by
     * dukd_graph_finish. */
    dukd_value (*build)(dukd_graph *g, const dukd_model_value *values, dukd_failure *f);
    const dukd_model_alias *aliases; /* NULL: the authors' names are those of the graph */
    int32_t alias_count;
} dukd_model_type;

int32_t dukd_model_type_count(void);
const dukd_model_type *dukd_model_type_at(int32_t i);

/* The alias that fits the full name of a tensor ("body.3.body.0.weight"), or NULL. Unless it is a mean's, `out` gets the
 * graph's name ("body.3.conv1.weight"), which the graph need not have. */
const dukd_model_alias *dukd_model_find_alias(const dukd_model_type *type, const char *name, char *out,
                                              size_t size);

/* ---- a network of certain options ---- */

/* One line of an option file. Texts are what is written there, without quotes and tags: "64", "1e-4". */
typedef struct {
    const char *key;
    const char *const *texts; /* the scalar, or the items of the list; an item may be NULL (YAML's ~) */
    int32_t count;            /* 0 of a scalar: null */
    int32_t is_list;          /* 1: [texts], also with one item or none */
    const char *where;        /* begins error messages: "train.yml:12:5"; NULL: nowhere */
} dukd_model_setting;

/* Plain data: copy it, compare it by dukd_model_spec_same. */
typedef struct {
    const dukd_model_type *type;
    dukd_model_value values[DUKD_MODEL_MAX_OPTIONS]; /* in the order of type->options */
} dukd_model_spec;

/* Checks a network's section of an option file. `type` and `type_where` are the value and the place of its
 * key `type`, `where` the place of the section; settings do not contain `type`. DUKD_MISUSED: no such network
 * or option (naming the nearest), a wrong type, a number out of range, a missing or repeated option. */
int dukd_model_spec_read(dukd_model_spec *out, const char *type, const char *type_where, const char *where,
                         const dukd_model_setting *settings, int32_t count, dukd_failure *f);

int dukd_model_spec_same(const dukd_model_spec *a, const dukd_model_spec *b); /* 1: the same network */

/* All options, defaults included, as one line of JSON that an option file takes too:
 * {"type": "EDSR", "num_in_ch": 3, ..., "rgb_mean": [0.4488, 0.4371, 0.404]}. Numbers read back as the same
 * numbers. Returns the length without the final NUL; at most size - 1 bytes are written, as snprintf does. */
size_t dukd_model_spec_text(const dukd_model_spec *spec, char *out, size_t size);

/* The value of an integer option by name, of a spec whose type has it: "upscale", "num_in_ch". -1: no such
 * option. */
int64_t dukd_model_spec_int(const dukd_model_spec *spec, const char *name);

/* The graph, finished; the caller destroys it. *out is NULL on failure. DUKD_MISUSED where the options
 * contradict each other, DUKD_FAILED where there is no memory. */
int dukd_model_build(dukd_graph **out, const dukd_model_spec *spec, dukd_failure *f);

#endif
