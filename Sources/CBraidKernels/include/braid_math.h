#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct {
  int unused;
} braid_math_kernels;

void braid_fill_math_base(braid_math_kernels *table);
void braid_fill_math_avx2(braid_math_kernels *table);
void braid_fill_math_avx512(braid_math_kernels *table);
