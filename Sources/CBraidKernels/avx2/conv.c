#include "braid_kernels.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)

#define SUFFIX conv_avx2
#define LANES 8
#include "../common/conv.inc"

void braid_fill_conv_avx2(braid_conv_kernels *table) { NAME(fill)(table); }

#pragma clang attribute pop
#else
void braid_fill_conv_avx2(braid_conv_kernels *table) { (void)table; }
#endif
