#include "braid_kernels.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)

#define SUFFIX gemm_avx2
#define LANES 8
#define VECTORS 2
#define ROWS 6
#define HALF 0
#include "../common/gemm.inc"

void braid_fill_gemm_avx2(braid_gemm_kernels *table) { NAME(fill)(table); }

#pragma clang attribute pop
#else
void braid_fill_gemm_avx2(braid_gemm_kernels *table) { (void)table; }
#endif
