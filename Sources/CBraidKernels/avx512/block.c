#include "braid_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512dq,avx512bw,avx512vl"))), apply_to = function)
#define BRAID_LANES 16
#define BLOCK_ROWS 14
#define BLOCK_MULTIPLY braid_block_multiply_avx512
#include "../common/block.inc"
#pragma clang attribute pop

void braid_fill_block_avx512(braid_block_kernels *table) { table->multiply = braid_block_multiply_avx512; }
#else
void braid_fill_block_avx512(braid_block_kernels *table) { (void)table; }
#endif
