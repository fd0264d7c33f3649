#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct {
  int unused;
} braid_gemm_kernels;

void braid_fill_gemm_base(braid_gemm_kernels *table);
void braid_fill_gemm_avx2(braid_gemm_kernels *table);
void braid_fill_gemm_avx512(braid_gemm_kernels *table);
