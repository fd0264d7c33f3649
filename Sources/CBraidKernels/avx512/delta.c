#include "braid_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512dq,avx512bw,avx512vl"))), apply_to = function)
#define BRAID_LANES 16
#define DELTA_MULTIPLY braid_block_multiply_avx512
#include "../common/delta.inc"
#pragma clang attribute pop

void braid_fill_delta_avx512(braid_delta_kernels *table) { fill_delta(table); }
#else
void braid_fill_delta_avx512(braid_delta_kernels *table) { (void)table; }
#endif
