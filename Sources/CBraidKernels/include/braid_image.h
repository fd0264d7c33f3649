// Kernels of channels-last maps: weighted sums of pixels (resizing, sampling, average pooling) and pixel shuffle.
// float32; outputs do not overlap inputs.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct {
  // y[i] = sum over t < taps of w[t] * x[t][i], for i < n
  void (*blend)(const float *const *x, const float *w, size_t taps, float *y, size_t n);
  // A row of pixels of `channels` values resampled: with o < outputs and t < offsets[o + 1] - offsets[o],
  //   y[o][c] = sum over t of w[offsets[o] + t] * x[starts[o] + t][c]
  void (*resample)(const float *x, const int32_t *starts, const int32_t *offsets, const float *w,
                   size_t outputs, size_t channels, float *y);
  // y[i * y_stride + (p * r + j) * channels + c] = x[(p * channels + c) * r * r + i * r + j]
  // for p < width, c < channels, i < r, j < r: one row of pixels becomes r rows.
  void (*pixel_shuffle)(const float *x, size_t width, size_t channels, size_t r, float *y, size_t y_stride);
  // The inverse: x has r rows, x_stride apart, y one.
  void (*pixel_unshuffle)(const float *x, size_t x_stride, size_t width, size_t channels, size_t r, float *y);
} braid_image_kernels;

void braid_fill_image_base(braid_image_kernels *table);
void braid_fill_image_avx2(braid_image_kernels *table);
void braid_fill_image_avx512(braid_image_kernels *table);
