/* One hash over all files of a data set. */
#ifndef DUKD_DATASET_HASH_H
#define DUKD_DATASET_HASH_H

#include "data/dataset_pairs.h"

/* SHA-256, 64 hex digits and 0, over, for each file (HR, then LR where there is a file, in the order of the pairs): its file name
 * without folder, a 0, its size in decimal, a 0, its contents. The same files in another folder give the same hash. */
int dukd_pairs_hash(const dukd_pairs *pairs, char hex[65], dukd_failure *f);

#endif
