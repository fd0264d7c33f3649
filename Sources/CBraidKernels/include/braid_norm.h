#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct {
  int unused;
} braid_norm_kernels;

void braid_fill_norm_base(braid_norm_kernels *table);
void braid_fill_norm_avx2(braid_norm_kernels *table);
void braid_fill_norm_avx512(braid_norm_kernels *table);
