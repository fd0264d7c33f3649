#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct {
  int unused;
} braid_scan_kernels;

void braid_fill_scan_base(braid_scan_kernels *table);
void braid_fill_scan_avx2(braid_scan_kernels *table);
void braid_fill_scan_avx512(braid_scan_kernels *table);
