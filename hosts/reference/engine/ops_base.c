/* The operations of ops.h, compiled for any processor of the architecture. */
#define TABLE dukd_ops_base
#include "engine/ops_body.h"
