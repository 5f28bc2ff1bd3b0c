/* What a file of torch.save's consists of, in either format: internal to torch_*.c. */
#ifndef DUKD_TORCH_PARTS_H
#define DUKD_TORCH_PARTS_H

#include "common/failure.h"
#include "tensors/pickle.h"
#include "tensors/zip_file.h"

/* The entry that holds our metadata, behind the archive's own name. */
#define DUKD_TORCH_METADATA "dukd/metadata.json"

/* The numbers of one or several tensors. */
typedef struct {
    dukd_py_text key;
    dukd_st_type type;
    int64_t count, bytes;
    int64_t place;       /* before 1.6: where it begins in the file; -1: not known */
    unsigned char *data; /* NULL until it is loaded */
} dukd_torch_storage;

typedef struct {
    const char *path;
    const unsigned char *bytes; /* the file */
    size_t size;
    dukd_pickle *pickle;
    unsigned char *pickle_bytes;  /* of an entry of the archive; NULL where they lie in the file */
    dukd_zip *zip;                /* NULL: the format before 1.6 */
    char prefix[256];             /* of the archive's entries: "net/" */
    dukd_torch_storage *storages; /* sorted by key, each once */
    uint32_t storage_count;
} dukd_torch_parts;

/* Reads everything but the numbers. *p holds path, bytes and size, all else zero; freed by the caller in any case. */
int dukd_torch_zip_open(dukd_torch_parts *p, dukd_failure *f);
int dukd_torch_legacy_open(dukd_torch_parts *p, dukd_failure *f);
void dukd_torch_parts_free(dukd_torch_parts *p);

/* The table of storages of p->pickle. Their sizes are checked against each other and the file. */
int dukd_torch_find_storages(dukd_torch_parts *p, dukd_failure *f);
dukd_torch_storage *dukd_torch_storage_of(const dukd_torch_parts *p, dukd_py_text key); /* NULL: none */
/* The numbers of a storage in memory of their own, aligned for any type. */
int dukd_torch_load(dukd_torch_parts *p, dukd_torch_storage *s, dukd_failure *f);

/* An entry of the archive, behind the prefix, as malloc'd bytes; *size tells how many. */
int dukd_torch_zip_entry(dukd_torch_parts *p, const char *name, unsigned char **out, size_t *size,
                         dukd_failure *f);
int dukd_torch_zip_has(const dukd_torch_parts *p, const char *name);

#endif
