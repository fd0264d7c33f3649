#include <math.h>

#include "braid_kernels.h"

#define BRAID_LANES 4
#include "../common/norm.inc"

void braid_fill_norm_base(braid_norm_kernels *table) { fill_norm(table); }
