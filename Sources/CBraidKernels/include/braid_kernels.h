// The one dispatch table of Braid's CPU kernels.
//
// A family of kernels (gemm, gemv, block, conv, math, norm, attention, scan, recurrence, delta, image, fourier) has
//   include/braid_<family>.h      the struct of function pointers, each with shapes and meaning
//   base/<family>.c               portable C: braid_fill_<family>_base sets every pointer
//   avx2/<family>.c avx512/<family>.c   override what is faster there (empty files elsewhere than x86-64)
//   common/<family>.inc           a template that several levels include, where one source serves them
// Kernels never allocate, never start threads and never abort: workspace comes from the caller,
// who also splits the work (see braid_pool.h).
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "braid_attention.h"
#include "braid_block.h"
#include "braid_conv.h"
#include "braid_delta.h"
#include "braid_fourier.h"
#include "braid_gemm.h"
#include "braid_gemv.h"
#include "braid_image.h"
#include "braid_math.h"
#include "braid_norm.h"
#include "braid_pool.h"
#include "braid_recurrence.h"
#include "braid_scan.h"

typedef enum { BRAID_LEVEL_BASE = 0, BRAID_LEVEL_AVX2 = 1, BRAID_LEVEL_AVX512 = 2 } braid_level;

typedef struct {
  braid_level level;
  braid_gemm_kernels gemm;
  braid_gemv_kernels gemv;
  braid_conv_kernels conv;
  braid_math_kernels math;
  braid_norm_kernels norm;
  braid_attention_kernels attention;
  braid_block_kernels block;
  braid_scan_kernels scan;
  braid_recurrence_kernels recurrence;
  braid_delta_kernels delta;
  braid_image_kernels image;
  braid_fourier_kernels fourier;
} braid_kernels;

// The highest level this machine has, lowered by BRAID_CPU=base|avx2|avx512; decided once.
braid_level braid_current_level(void);
// The highest level this machine has.
braid_level braid_machine_level(void);
// Whether the machine multiplies bfloat16 pairs natively (AVX512_BF16).
int braid_has_bf16(void);
// The table of the current level; the same pointer for the life of the process.
const braid_kernels *braid_kernels_current(void);
// The table of a given level (for parity tests); NULL where the machine lacks it.
const braid_kernels *braid_kernels_at(braid_level level);
