#include "braid_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512dq,avx512bw,avx512vl"))), apply_to = function)
#define BRAID_LANES 16
#include "../common/gemv.inc"
#pragma clang attribute pop

void braid_fill_gemv_avx512(braid_gemv_kernels *table) { fill_gemv(table); }
#else
void braid_fill_gemv_avx512(braid_gemv_kernels *table) { (void)table; }
#endif
