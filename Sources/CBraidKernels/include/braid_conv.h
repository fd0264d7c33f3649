// Convolution over channels-last images: Winograd's transforms and depthwise kernels. Everything else of a
// convolution is matrix multiplication (braid_gemm.h) over segments of the input.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "braid_gemm.h"

// A run of tiles of Winograd's F(4 x 4, 3 x 3), points 0, +-3/4, +-3/2, infinity: tile i covers the outputs at
// rows y..<y+4, columns x+4i..<x+4i+4, from the inputs at rows y-pad_y..<y-pad_y+6, and so on.
typedef struct {
  size_t height, width, channels;   // of the image, input or output; channels at least 16
  ptrdiff_t y, x;                   // the first tile's corner in that image (negative inside the padding)
  size_t tiles;
  size_t line;                      // pixels from one row to the next in memory: a multiple of width where dilated
  size_t pixel;                     // floats from one pixel to the next: more than channels where they are a part of it
  const float *zeros;               // `channels` zeros: the padding (input)
} braid_winograd_run;

// A run of pixels of a depthwise convolution: every channel has a kernel of its own. Tap t of output pixel i
// reads in[i * in_step + offsets[t] + channel], all of them inside the image.
typedef struct {
  size_t count, channels, taps;
  size_t row_taps;                  // taps come in rows of so many that lie in_step apart; 0: they do not
  const ptrdiff_t *offsets;         // of each tap, in floats
  const size_t *kernel;             // of each tap, its row in the weights
  const float *in;
  ptrdiff_t in_step;
} braid_depthwise_run;

typedef struct {
  // out[i * out_step + channel] = epilogue(sum over taps of weights[kernel[t] * channels + channel] in + bias).
  void (*depthwise)(const braid_depthwise_run *run, const float *weights, float *out, ptrdiff_t out_step,
                    const braid_epilogue *epilogue);
  // sums[kernel[t] * channels + channel] += sum over pixels of gradient[i * gradient_step + channel] in.
  void (*depthwise_weights)(const braid_depthwise_run *run, const float *gradient, ptrdiff_t gradient_step,
                            float *sums);
  // planes[(6 i + j) * plane + tile * channels + channel], from an image [height, width, channels].
  void (*winograd_input)(const braid_winograd_run *run, const float *image, float *planes, size_t plane);
  // image = epilogue(transform of the planes + bias), the planes' tiles `row` floats apart; what lies outside
  // of the image is left out.
  void (*winograd_output)(const braid_winograd_run *run, const float *planes, size_t plane, size_t row,
                          float *image, const braid_epilogue *epilogue);
} braid_conv_kernels;

void braid_fill_conv_base(braid_conv_kernels *table);
void braid_fill_conv_avx2(braid_conv_kernels *table);
void braid_fill_conv_avx512(braid_conv_kernels *table);
