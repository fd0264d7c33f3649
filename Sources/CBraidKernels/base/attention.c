#include <math.h>

#include "braid_kernels.h"

#define BRAID_LANES 4
#include "../common/attention.inc"

void braid_fill_attention_base(braid_attention_kernels *table) { fill_attention(table); }
