// Matrix multiplication: a micro-kernel that keeps a tile of C in registers, over panels of packed B.
//
// A panel is `panel_width` columns of B, all K rows: panel[k * width + column], 64-byte aligned where the
// level's vectors want it. The last panel is as wide as its columns, rounded up to `quantum` and filled
// with zeros. Panel p starts at p * panel_width * K.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef enum {
  BRAID_ACTIVATION_NONE,
  BRAID_ACTIVATION_RELU,
  BRAID_ACTIVATION_LEAKY_RELU,
  BRAID_ACTIVATION_GELU,       // x/2 (1 + erf(x / sqrt 2))
  BRAID_ACTIVATION_GELU_TANH,
  BRAID_ACTIVATION_SILU,
  BRAID_ACTIVATION_SIGMOID,
  BRAID_ACTIVATION_TANH,
} braid_activation;

// C = residual + scale * activation(A B + bias). A residual may be C itself.
typedef struct {
  const float *bias;          // one value a column, or NULL
  const float *residual;      // as C, or NULL
  ptrdiff_t residual_row;     // floats between rows of the residual
  float scale;
  float slope;                // of leaky ReLU below zero
  braid_activation activation;
} braid_epilogue;

typedef struct {
  size_t m, n;
  size_t k;                   // rows of B that this call multiplies, all segments together
  // A(row, i) = a[row * a_row + i * a_column]; one of the two strides must be 1. With segments, A's row is
  // their concatenation: segment s holds k / segments elements from a + row * a_row + segment_offsets[s].
  const float *a;
  ptrdiff_t a_row, a_column;
  size_t segments;            // 0 or 1: one segment at a
  const ptrdiff_t *segment_offsets;
  // With groups > 1 the m rows are those of one group (an image row, say), and group g is the product at
  // a + g * a_group, c + g * c_group, residual + g * residual_group.
  size_t groups;
  ptrdiff_t a_group, c_group, residual_group;
  // Packed panels of a matrix of k_total rows, of which the rows from k_offset on are multiplied. With
  // b_row != 0, B is not packed: B(i, column) = b[i * b_row + column], and n must be a multiple of quantum.
  const float *b;
  size_t k_total, k_offset;
  ptrdiff_t b_row;
  float *c;
  ptrdiff_t c_row;
  const braid_epilogue *epilogue;
  // Sums over blocks of K are carried in `partial` (groups * m * n rounded up to quantum floats) where it is not NULL:
  // all calls but the first start from it, all but the last leave their sum in it.
  float *partial;
  int is_first, is_last;
  // For block16 alone: the panels (instead of b; k_total, k_offset, partial and segments are not used), and
  // max(panel_width * k, m * (k + 2) / 2 + 32) floats of scratch, 64-byte aligned.
  const uint16_t *b16;
  float *scratch;
} braid_gemm_block;

typedef struct {
  size_t panel_width;         // columns of a panel
  size_t quantum;             // the last panel's width is a multiple of it
  size_t tile_rows;           // rows of the micro-tile
  // C(m x n) = epilogue(A B), one task's share.
  void (*block)(const braid_gemm_block *block);
  // Packs k rows of `columns` (at most panel_width) columns of B(i, column) = b[i * row + column * column_stride]
  // into out[i * width + column], width being columns rounded up to quantum.
  void (*pack)(size_t k, size_t columns, const float *b, ptrdiff_t row, ptrdiff_t column_stride, float *out);
  // Adds `count` partial sums (as left by `block` in its partial, `stride` floats apart) in order and
  // finishes them into C. bias, residual and c belong to the first column.
  void (*finish)(size_t m, size_t n, const float *partial, size_t count, size_t stride, float *c,
                 ptrdiff_t c_row, const braid_epilogue *epilogue);
  // C(m x n) = epilogue(A B) with B(i, column) = b[i + column * b_column]: dot products for m of at most 4.
  void (*dot)(size_t m, size_t n, size_t k, const float *a, ptrdiff_t a_row, const float *b, ptrdiff_t b_column,
              float *c, ptrdiff_t c_row, const braid_epilogue *epilogue);
  // Applies the epilogue (bias included) to a matrix in place of a product: C = residual + scale * act(X + bias).
  void (*epilogue)(size_t m, size_t n, const float *x, ptrdiff_t x_row, float *c, ptrdiff_t c_row,
                   const braid_epilogue *epilogue);
  // The same with B in bfloat16, sums in float32. Where the machine multiplies bfloat16 (is_native16), A is rounded
  // to it too; elsewhere B is widened. Panels as above with K rounded up to even; native ones hold pairs of rows,
  // panel[(k / 2 * width + column) * 2 + k % 2].
  void (*block16)(const braid_gemm_block *block);
  void (*pack16)(size_t k, size_t columns, const float *b, ptrdiff_t row, ptrdiff_t column_stride, uint16_t *out);
  int is_native16;
} braid_gemm_kernels;

void braid_fill_gemm_base(braid_gemm_kernels *table);
void braid_fill_gemm_avx2(braid_gemm_kernels *table);
void braid_fill_gemm_avx512(braid_gemm_kernels *table);
