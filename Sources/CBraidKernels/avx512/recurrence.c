#include "braid_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512dq,avx512bw,avx512vl"))), apply_to = function)
#define BRAID_LANES 16
#define BLOCK_MULTIPLY braid_block_multiply_avx512
#include "../common/recurrence.inc"
#include "../common/recurrence_channels.inc"
#include "../common/recurrence_channels_gradient.inc"
#pragma clang attribute pop

void braid_fill_recurrence_avx512(braid_recurrence_kernels *table) { fill_recurrence(table); }
#else
void braid_fill_recurrence_avx512(braid_recurrence_kernels *table) { (void)table; }
#endif
