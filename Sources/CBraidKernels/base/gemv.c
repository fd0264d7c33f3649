#include <math.h>

#include "braid_kernels.h"

#define BRAID_LANES 4
#include "../common/gemv.inc"

void braid_fill_gemv_base(braid_gemv_kernels *table) { fill_gemv(table); }
