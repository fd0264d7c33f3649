#include "braid_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define BRAID_LANES 8
#define BLOCK_ROWS 6
#define BLOCK_MULTIPLY braid_block_multiply_avx2
#include "../common/block.inc"
#pragma clang attribute pop

void braid_fill_block_avx2(braid_block_kernels *table) { table->multiply = braid_block_multiply_avx2; }
#else
void braid_fill_block_avx2(braid_block_kernels *table) { (void)table; }
#endif
