/* The operations of layout.h, compiled for any processor of the architecture. */
#define TABLE dukd_layout_base
#include "engine/layout_body.h"
