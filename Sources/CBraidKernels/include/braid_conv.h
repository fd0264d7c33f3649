#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct {
  int unused;
} braid_conv_kernels;

void braid_fill_conv_base(braid_conv_kernels *table);
void braid_fill_conv_avx2(braid_conv_kernels *table);
void braid_fill_conv_avx512(braid_conv_kernels *table);
