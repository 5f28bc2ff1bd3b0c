/* A network's weights in files, and a network of an option file made ready for an engine.
 *
 * A network file is a safetensors file, or one of torch.save's, whose tensors are named KEY.NAME: NAME is BasicSR's
 * parameter name ("body.0.conv1.weight"), KEY what BasicSR calls the param key: "params" (the weights that were trained)
 * and, where the run keeps one, "params_ema" (their moving average). A file without any KEY is read too: its names are
 * the parameters'. A prefix "module." is skipped as BasicSR does, the names of the network's authors are known
 * (dukd_model_alias), and constants that BasicSR's modules store beside their parameters are left out. Tensors are f32
 * (f16, bf16 and f64 are converted). We write safetensors; `dukd-host convert` writes either. */
#ifndef DUKD_WEIGHTS_H
#define DUKD_WEIGHTS_H

#include <stdint.h>

#include "common/failure.h"
#include "common/safetensors.h"
#include "engine/arrays.h"
#include "graph/graph.h"
#include "models/model.h"
#include "tensors/tensor_source.h"
#include "train/run_options.h"

/* How a file and a network differ. */
typedef enum { DUKD_WEIGHTS_DIFFERENT, DUKD_WEIGHTS_MISSING, DUKD_WEIGHTS_UNUSED } dukd_weights_kind;
#define DUKD_WEIGHTS_KINDS 3
#define DUKD_WEIGHTS_NAMED 4 /* of each kind, the first in words */

/* What a load has done, and what one that is not strict has left out. */
typedef struct {
    char key[64];    /* the key that was used: "params"; "" for a file without one */
    int32_t loaded;  /* parameters */
    int32_t aliased; /* of these, under the names of the network's authors */
    /* Of each kind: parameters of another shape in the file, parameters that it does not have (both keep what `weights`
     * held), tensors of the file that the network does not have. */
    int32_t counts[DUKD_WEIGHTS_KINDS];
    char words[DUKD_WEIGHTS_KINDS][DUKD_WEIGHTS_NAMED][160]; /* "conv.weight is 8x3x3x3, not 4x3x3x3" */
} dukd_weights_report;

/* Fills weights[dukd_graph_weights(g)] from `path`. param_key NULL: names without a prefix. A key that the
 * file does not have is replaced by "params", as BasicSR does, or by no prefix where the file has no keys at
 * all; otherwise it is an error that lists the keys. strict: anything missing, different or unused is an
 * error that names the first tensors and their shapes. `type` may be NULL: no names but the graph's. `report` may be
 * NULL. On failure `weights` is unspecified. */
int dukd_weights_load(const char *path, const char *param_key, int strict, const dukd_model_type *type,
                      const dukd_graph *g, float *weights, dukd_weights_report *report, dukd_failure *f);
/* The same of an open file; `path` begins the messages. */
int dukd_weights_read(const dukd_tensor_source *source, const char *path, const char *param_key, int strict,
                      const dukd_model_type *type, const dukd_graph *g, float *weights,
                      dukd_weights_report *report, dukd_failure *f);
/* 1 where the file has tensors KEY.NAME. */
int dukd_weights_has_key(const dukd_tensor_source *source, const char *key);
/* All differences. */
int32_t dukd_weights_differences(const dukd_weights_report *r);

/* DUKD_FAILED, naming the parameter, where one of them has a NaN or an infinity, which spoils all that is computed from it. */
int dukd_weights_check(const dukd_graph *g, const float *weights, const char *path, dukd_failure *f);

/* Writes the network file: `params`, and `ema` where it is not NULL. */
int dukd_weights_save(const char *path, const dukd_graph *g, const float *params, const float *ema,
                      const dukd_st_entry *metadata, int32_t metadata_count, dukd_failure *f);

/* Tensor rows "PREFIX.NAME" of one flat array, for files that hold several: names are allocated, data is
 * `weights`. Returns the number of rows (dukd_graph_param_count) or -1 where there is no memory. */
int32_t dukd_weights_rows(dukd_st_tensor *rows, const dukd_graph *g, const char *prefix,
                          const float *weights);
void dukd_weights_rows_free(dukd_st_tensor *rows, int32_t count); /* the names */

/* Memory for n floats, aligned for any instruction set, zeroed; free() it. NULL: no memory. */
float *dukd_weights_alloc(int64_t n);
/* n floats in the engine's memory, zeroed; dukd_engine_release them. */
int dukd_weights_room(dukd_engine *e, int64_t n, const char *what, float **out, dukd_failure *f);

/* A network of an option file: its graph, and its weights from the file that `path.pretrain_network_*` names,
 * or the initial ones of `seed` where it names none. */
typedef struct {
    dukd_graph *graph;
    float *weights;
    dukd_weights_report report; /* zero where there is no file */
} dukd_ready_network;
int dukd_ready_network_open(dukd_ready_network *out, const dukd_run_network *from, uint64_t seed,
                            dukd_failure *f);
/* DUKD_FAILED where other weights were read than those a person has asked for by name. */
int dukd_ready_network_check_key(const dukd_ready_network *n, const char *key, const char *path,
                                 dukd_failure *f);
void dukd_ready_network_close(dukd_ready_network *n); /* NULL and zeroed allowed */

#endif
