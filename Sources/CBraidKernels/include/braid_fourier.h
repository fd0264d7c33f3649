// Fourier transforms of `lanes` signals at once, one in each vector lane, for lengths with factors 2, 3 and 5.
// A block of n complex numbers per lane: for each k, `lanes` real parts, then `lanes` imaginary parts.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct {
  size_t length;       // n, complex
  size_t stages;
  uint8_t radices[64]; // of each stage, 2, 3, 4 or 5; their product is n
  // For the stages in order: with l the length left and r the radix, for p < l / r and 1 <= k < r, the pair
  // exp(-2 pi i p k / l).
  const float *twiddles;
  // exp(-2 pi i k / 2n) for k <= n, pairs: for real signals of length 2n.
  const float *half_turns;
} braid_fourier_plan;

typedef struct {
  size_t lanes;
  // X[k] = sum over t of x[t] exp(-2 pi i k t / n). Both blocks are overwritten; the result is in the one returned.
  float *(*transform)(const braid_fourier_plan *plan, float *block, float *work);
  // Rows of `count` pairs, row_stride floats apart, into a block; real and imaginary parts exchanged where `swapped`
  // (a transform between two exchanges is the inverse). Lanes without a row are 0.
  void (*load)(const float *x, size_t row_stride, size_t rows, size_t count, int swapped, float *block);
  // A block into rows, each number multiplied by `scale`.
  void (*store)(const float *block, size_t count, int swapped, float scale, float *y, size_t row_stride,
                size_t rows);
  // The spectra (n + 1 bins) of real signals of length 2n from the transforms of their pairs; bins but the first and
  // last multiplied by `inner`.
  void (*split)(const braid_fourier_plan *plan, const float *block, float inner, float *spectrum);
  // The inverse: transformed and stored swapped, the block gives the signals times 2n. Bins but the first and last
  // are multiplied by `inner`, the imaginary parts of these two not read.
  void (*join)(const braid_fourier_plan *plan, const float *spectrum, float inner, float *block);
} braid_fourier_kernels;

void braid_fill_fourier_base(braid_fourier_kernels *table);
void braid_fill_fourier_avx2(braid_fourier_kernels *table);
void braid_fill_fourier_avx512(braid_fourier_kernels *table);
