#include "braid_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512dq,avx512bw,avx512vl"))), apply_to = function)
#define BRAID_LANES 16
#include "../common/fourier.inc"
#pragma clang attribute pop

void braid_fill_fourier_avx512(braid_fourier_kernels *table) { fill_fourier(table); }
#else
void braid_fill_fourier_avx512(braid_fourier_kernels *table) { (void)table; }
#endif
