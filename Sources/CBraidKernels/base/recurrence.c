#include <math.h>

#include "braid_kernels.h"

#define BRAID_LANES 4
#define BLOCK_MULTIPLY braid_block_multiply_base
#include "../common/recurrence.inc"
#include "../common/recurrence_channels.inc"
#include "../common/recurrence_channels_gradient.inc"

void braid_fill_recurrence_base(braid_recurrence_kernels *table) { fill_recurrence(table); }
