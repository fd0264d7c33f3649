#include "braid_kernels.h"

#define BRAID_LANES 4
#define BLOCK_ROWS 6
#define BLOCK_MULTIPLY braid_block_multiply_base
#include "../common/block.inc"

void braid_fill_block_base(braid_block_kernels *table) { table->multiply = braid_block_multiply_base; }
