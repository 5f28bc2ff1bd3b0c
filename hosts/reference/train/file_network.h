/* Which network a weights file belongs to: what training writes into its metadata, read back. */
#ifndef DUKD_FILE_NETWORK_H
#define DUKD_FILE_NETWORK_H

#include "common/failure.h"
#include "models/model.h"

/* The key of a network file's metadata that holds dukd_model_spec_text of its network. */
#define DUKD_NETWORK_METADATA "network_g"

/* DUKD_FAILED where the file has no such entry (the message says what to give instead), or one that is no network. */
int dukd_file_network(const char *path, dukd_model_spec *out, dukd_failure *f);

/* The network that a mapping describes, as dukd_model_spec_text writes one: "{type: EDSR, upscale: 2, ...}". `where` begins
 * the messages. */
int dukd_network_of_text(const char *text, const char *where, dukd_model_spec *out, dukd_failure *f);

#endif
