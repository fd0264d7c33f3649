#include "braid_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define BRAID_LANES 8
#define BLOCK_MULTIPLY braid_block_multiply_avx2
#include "../common/recurrence.inc"
#include "../common/recurrence_channels.inc"
#include "../common/recurrence_channels_gradient.inc"
#pragma clang attribute pop

void braid_fill_recurrence_avx2(braid_recurrence_kernels *table) { fill_recurrence(table); }
#else
void braid_fill_recurrence_avx2(braid_recurrence_kernels *table) { (void)table; }
#endif
