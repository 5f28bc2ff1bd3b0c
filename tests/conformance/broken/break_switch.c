/* What this library is broken in: one library is built for each line of breaks.def, and one for nothing. */
#include "small.h"

const small_break small_broken = SMALL_BROKEN;
