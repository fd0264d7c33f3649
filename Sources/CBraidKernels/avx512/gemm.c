#include "braid_kernels.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), \
                             apply_to = function)

#define SUFFIX gemm_avx512
#define LANES 16
#define VECTORS 2
#define ROWS 14
#define HALF 1
#include "../common/gemm.inc"

void braid_fill_gemm_avx512(braid_gemm_kernels *table) { NAME(fill)(table); }

#pragma clang attribute pop
#else
void braid_fill_gemm_avx512(braid_gemm_kernels *table) { (void)table; }
#endif
