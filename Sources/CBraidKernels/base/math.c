#include <math.h>

#include "braid_kernels.h"

#define BRAID_LANES 4
#include "../common/math.inc"

void braid_fill_math_base(braid_math_kernels *table) { fill_math(table); }
