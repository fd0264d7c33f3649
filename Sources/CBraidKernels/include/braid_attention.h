#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct {
  int unused;
} braid_attention_kernels;

void braid_fill_attention_base(braid_attention_kernels *table);
void braid_fill_attention_avx2(braid_attention_kernels *table);
void braid_fill_attention_avx512(braid_attention_kernels *table);
