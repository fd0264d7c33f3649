// Products of a few rows with a weight that is read once from memory: y = x W^T, W [n, k] as it is stored.
//
// Layouts of a row of W of k numbers; groups are of 128, the last one filled with zeros:
//   F32    k floats
//   BF16   k bfloat16
//   INT8   bytes q, one float scale s a row: w = q s, s = max |w| / 127
//   Q4_0   blocks of 32 with one f16 scale d: w = (q - 8) d, q in 0...15, d = (the number of largest magnitude) / -8,
//          as llama.cpp defines Q4_0. A block's number 8 j + i is the j-th nibble of the i-th of its 8
//          little-endian 16-bit words, so that no vector needs widening; a row's scales stand apart, in order.
//
// INT8 and Q4_0 multiply integers: x is rounded to 16 bits with one scale for each 128 numbers (an error of about 3e-5
// of x, a hundredth of the weights' own), the sums of a group are exact.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef enum { BRAID_WEIGHT_F32, BRAID_WEIGHT_BF16, BRAID_WEIGHT_INT8, BRAID_WEIGHT_Q4_0 } braid_weight_format;

enum { BRAID_GEMV_GROUP = 128, BRAID_GEMV_BLOCK = 32 };

static inline size_t braid_gemv_groups(size_t k) { return (k + BRAID_GEMV_GROUP - 1) / BRAID_GEMV_GROUP; }

// Bytes of a row of W, without its scales.
static inline size_t braid_gemv_row_bytes(braid_weight_format format, size_t k) {
  switch (format) {
    case BRAID_WEIGHT_F32: return 4 * k;
    case BRAID_WEIGHT_BF16: return 2 * k;
    case BRAID_WEIGHT_INT8: return braid_gemv_groups(k) * BRAID_GEMV_GROUP;
    case BRAID_WEIGHT_Q4_0: return braid_gemv_groups(k) * (BRAID_GEMV_GROUP / 2);
  }
  return 0;
}

// Bytes of a row's scales.
static inline size_t braid_gemv_scale_bytes(braid_weight_format format, size_t k) {
  switch (format) {
    case BRAID_WEIGHT_INT8: return sizeof(float);
    case BRAID_WEIGHT_Q4_0: return braid_gemv_groups(k) * (BRAID_GEMV_GROUP / BRAID_GEMV_BLOCK) * 2;
    default: return 0;
  }
}

// Bytes of a prepared row of x, a multiple of 64.
static inline size_t braid_gemv_activation_bytes(braid_weight_format format, size_t k) {
  const size_t groups = braid_gemv_groups(k), scales = (groups * 4 + 63) / 64 * 64;
  switch (format) {
    case BRAID_WEIGHT_INT8: return groups * 256 + scales;
    case BRAID_WEIGHT_Q4_0: return groups * (256 + 64) + scales;
    default: return (k + 31) / 32 * 128;
  }
}

typedef struct {
  braid_weight_format format;
  size_t m, n, k;
  const void *activations;  // m rows, as `prepare` left them
  const void *weights;      // the first of n rows
  const void *scales;       // of the first row, where the format has them
  float *y;                 // y[r * y_row + j] = sum over i of x[r][i] W[j][i]
  ptrdiff_t y_row;
} braid_gemv_product;

typedef struct {
  // A row of x in the form that `product` of the same table reads; `out` is 64-byte aligned.
  void (*prepare)(braid_weight_format format, size_t k, const float *x, void *out);
  void (*product)(const braid_gemv_product *p);
  // Rows of float32 as rows of a format. Rounding is to nearest.
  void (*quantize)(braid_weight_format format, size_t rows, size_t k, const float *x, void *weights, void *scales);
  // The exact values of rows, x_row floats apart.
  void (*dequantize)(braid_weight_format format, size_t rows, size_t k, const void *weights, const void *scales,
                     float *x, ptrdiff_t x_row);
} braid_gemv_kernels;

void braid_fill_gemv_base(braid_gemv_kernels *table);
void braid_fill_gemv_avx2(braid_gemv_kernels *table);
void braid_fill_gemv_avx512(braid_gemv_kernels *table);
