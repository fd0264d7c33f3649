#include "braid_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define BRAID_LANES 8
#define DELTA_MULTIPLY braid_block_multiply_avx2
#include "../common/delta.inc"
#pragma clang attribute pop

void braid_fill_delta_avx2(braid_delta_kernels *table) { fill_delta(table); }
#else
void braid_fill_delta_avx2(braid_delta_kernels *table) { (void)table; }
#endif
