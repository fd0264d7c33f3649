#include "braid_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), \
                             apply_to = function)

#define SUFFIX conv_avx512
#define LANES 16
#include "../common/conv.inc"

void braid_fill_conv_avx512(braid_conv_kernels *table) { NAME(fill)(table); }

#pragma clang attribute pop
#else
void braid_fill_conv_avx512(braid_conv_kernels *table) { (void)table; }
#endif
