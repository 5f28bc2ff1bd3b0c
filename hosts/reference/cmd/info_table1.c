/* The networks of the paper's Table 1 and what it states of them.
 *
 * Source: Zhang et al., "Data Upcycling Knowledge Distillation for Image Super-Resolution", arXiv 2309.14162. Its "FLOPs"
 * are multiply-adds at 3 x 256 x 256. It also states frames per second, which were measured on a GPU: they are not
 * repeated here, as nothing on a CPU compares with them. */
#include <stdio.h>

#include "cmd/info_rows.h"

enum { MAX_SETTINGS = 12, MAX_ITEMS = 6 };

typedef struct {
    const char *key;
    const char *items[MAX_ITEMS + 1];
    int is_list;
} setting;

typedef struct {
    const char *name, *type;
    dukd_info_paper paper;
    setting settings[MAX_SETTINGS];
} network;

#define ONE(key, value)                                                                                      \
    { key, {value}, 0 }
#define RGB   ONE("num_in_ch", "3"), ONE("num_out_ch", "3"), ONE("upscale", "4")
#define SIXES "6", "6", "6", "6"
#define SWINIR(dim, ...)                                                                                     \
    {                                                                                                        \
        ONE("upscale", "4"), ONE("in_chans", "3"), ONE("img_size", "48"), ONE("window_size", "8"),           \
            ONE("img_range", "1"), ONE("embed_dim", dim), {"depths", {__VA_ARGS__}, 1},                      \
            {"num_heads", {__VA_ARGS__}, 1}, ONE("mlp_ratio", "2"), ONE("upsampler", "pixelshuffle"),        \
            ONE("resi_connection", "1conv")                                                                  \
    }

static const network networks[DUKD_INFO_TABLE1] = {
    {"EDSR 256/32 teacher",
     "EDSR",
     {43.09, 3293.35},
     {RGB, ONE("num_feat", "256"), ONE("num_block", "32"), ONE("res_scale", "0.1")}},
    {"EDSR 64/32 student",
     "EDSR",
     {2.70, 207.28},
     {RGB, ONE("num_feat", "64"), ONE("num_block", "32"), ONE("res_scale", "0.1")}},
    {"RCAN 64/20/10 teacher",
     "RCAN",
     {15.59, 1044.03},
     {RGB, ONE("num_feat", "64"), ONE("num_block", "20"), ONE("num_group", "10"),
      ONE("squeeze_factor", "16")}},
    {"RCAN 64/6/10 student",
     "RCAN",
     {5.17, 366.98},
     {RGB, ONE("num_feat", "64"), ONE("num_block", "6"), ONE("num_group", "10"),
      ONE("squeeze_factor", "16")}},
    {"SwinIR 180/6x6 teacher", "SwinIR", {11.90, 861.27}, SWINIR("180", SIXES, "6", "6")},
    {"SwinIR 60/4x6 student", "SwinIR", {1.24, 121.48}, SWINIR("60", SIXES)},
};

void dukd_info_table1(dukd_info_row rows[DUKD_INFO_TABLE1]) {
    for (int n = 0; n < DUKD_INFO_TABLE1; n++) {
        const network *from = &networks[n];
        dukd_model_setting settings[MAX_SETTINGS];
        int32_t count = 0;
        rows[n] = (dukd_info_row){.paper = &from->paper};
        snprintf(rows[n].name, sizeof rows[n].name, "%s", from->name);
        for (const setting *s = from->settings; s < from->settings + MAX_SETTINGS && s->key; s++) {
            int32_t items = 0;
            while (s->items[items]) items++;
            settings[count++] =
                (dukd_model_setting){.key = s->key, .texts = s->items, .count = items, .is_list = s->is_list};
        }
        rows[n].is_known = dukd_model_spec_read(&rows[n].spec, from->type, NULL, NULL, settings, count,
                                                &rows[n].problem) == DUKD_DONE;
    }
}
