/* How run_options.c reads a tree: getters whose first error sticks, and the memory behind a dukd_run_options.
 *
 * Only for the files run_*.c. */
#ifndef DUKD_RUN_READ_H
#define DUKD_RUN_READ_H

#include <stddef.h>

#include "dukd_yaml.h"
#include "train/run_options.h"

/* Everything that a dukd_run_options points to. */
typedef struct dukd_run_memory {
    dukd_yaml *doc;
    dukd_yaml_flat *flat; /* of the whole document, before defaults were filled in */
    void **blocks;        /* [block_count] */
    size_t block_count;
} dukd_run_memory;

typedef struct {
    dukd_run_memory *memory;
    const dukd_yaml_node *root;
    int failed;      /* nothing is read any more */
    dukd_failure *f; /* holds why */
} dukd_run_reader;

/* Memory and texts that live as long as the options; NULL: none left, and the reader has failed. text NULL gives NULL. */
void *dukd_run_alloc(dukd_run_reader *r, size_t bytes);
const char *dukd_run_copy(dukd_run_reader *r, const char *text);
const char *dukd_run_format(dukd_run_reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "opt.yml:12:5" of the key at `node`. */
const char *dukd_run_place(dukd_run_reader *r, const dukd_yaml_node *node);

/* One value by its dotted path; `start` where the key is absent or null, and after a failure. Texts are copied. */
int64_t dukd_run_whole(dukd_run_reader *r, const char *path, int64_t least, int64_t most, int64_t start);
double dukd_run_number(dukd_run_reader *r, const char *path, double least, double most, double start);
int32_t dukd_run_flag(dukd_run_reader *r, const char *path, int32_t start);
const char *dukd_run_text(dukd_run_reader *r, const char *path, const char *start);
int dukd_run_choice(dukd_run_reader *r, const char *path, const char *const *choices, int start);
/* A path of the file system: "~/" becomes $HOME. */
const char *dukd_run_file(dukd_run_reader *r, const char *path);
/* Lists of at most `room`; returns the count, 0 where absent. */
int32_t dukd_run_wholes(dukd_run_reader *r, const char *path, int64_t least, int64_t most, int32_t room,
                        int64_t *values);
int32_t dukd_run_numbers(dukd_run_reader *r, const char *path, double least, double most, int32_t room,
                         double *values);
/* An error about the node at `path`, or about the file where there is none. */
void dukd_run_wrong(dukd_run_reader *r, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void dukd_run_take_error(dukd_run_reader *r, const dukd_yaml_error *e);

/* run_keys.c: every key is one of the host's or the plugin's; ignored ones become notes. */
void dukd_run_check_keys(dukd_run_reader *r, const dukd_plugin_info *plugin, dukd_run_options *o);

/* run_sections.c: the parts of the file. */
void dukd_run_read_general(dukd_run_reader *r, dukd_run_options *o);
void dukd_run_read_datasets(dukd_run_reader *r, dukd_run_options *o);
void dukd_run_read_networks(dukd_run_reader *r, dukd_run_options *o);
void dukd_run_read_training(dukd_run_reader *r, dukd_run_options *o);
void dukd_run_read_validation(dukd_run_reader *r, dukd_run_options *o);

#endif
