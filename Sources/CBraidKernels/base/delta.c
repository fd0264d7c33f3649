#include <math.h>

#include "braid_kernels.h"

#define BRAID_LANES 4
#define DELTA_MULTIPLY braid_block_multiply_base
#include "../common/delta.inc"

void braid_fill_delta_base(braid_delta_kernels *table) { fill_delta(table); }
