#include "braid_kernels.h"

#define SUFFIX conv_base
#define LANES 4
#include "../common/conv.inc"

void braid_fill_conv_base(braid_conv_kernels *table) { NAME(fill)(table); }
