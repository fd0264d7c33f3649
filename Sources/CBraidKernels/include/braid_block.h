// Products of small matrices by one thread, for operations that keep a chunk of their data in cache.
//
// Row-major with leading dimensions, sizes up to a few hundred. Fastest at 64 and more rows, and with leading
// dimensions that are no multiple of 1024 floats (rows that share a cache set evict each other: copy such chunks first).
#pragma once
#include <stddef.h>

typedef enum {
  BRAID_BLOCK_FULL,
  BRAID_BLOCK_LOWER,  // zero right of the diagonal
  BRAID_BLOCK_UPPER,  // zero left of the diagonal
} braid_block_shape;

// Rows of arrays that are read or written soon: each tile of a product fetches some of them into the second-level cache, so that
// the memory works while the processor multiplies.
enum { BRAID_BLOCK_AHEAD = 10 };
typedef struct {
  const float *array[BRAID_BLOCK_AHEAD];  // the next row of each
  ptrdiff_t row[BRAID_BLOCK_AHEAD];       // floats between its rows
  size_t width[BRAID_BLOCK_AHEAD];        // floats of a row
  size_t rows;                            // rows that are left
  size_t at_once;                         // rows that a tile fetches
  int arrays;
} braid_block_ahead;

static inline void braid_block_ahead_add(braid_block_ahead *ahead, const float *array, ptrdiff_t row, size_t width) {
  ahead->array[ahead->arrays] = array;
  ahead->row[ahead->arrays] = row;
  ahead->width[ahead->arrays++] = width;
}

// C = beta diag(row_beta) C + alpha diag(row_scale) op(A) op(B) with op(A) [m, k], op(B) [k, n], C [m, n].
// C overlaps neither A nor B.
typedef struct {
  size_t m, n, k;
  const float *a;
  ptrdiff_t a_row;          // floats between rows of A as it is stored: [m, k], or [k, m] where transposed
  int a_transposed;
  const float *b;
  ptrdiff_t b_row;          // floats between rows of B as it is stored: [k, n], or [n, k] where transposed
  int b_transposed;
  float *c;
  ptrdiff_t c_row;
  float alpha, beta;        // with beta = 0, C is not read
  const float *row_scale;   // [m], or NULL for ones
  const float *row_beta;    // [m], or NULL for ones
  // Of op(A): the elements beyond the diagonal are 0 where they lie near it and are not read elsewhere.
  braid_block_shape a_shape;
  // Columns of op(A) left of those that a_shape speaks of (with BRAID_BLOCK_LOWER alone): all of them are read.
  size_t a_margin;
  // Of C: elements beyond the diagonal are not wanted; they may be left as they were.
  braid_block_shape c_shape;
  braid_block_ahead *ahead; // or NULL
} braid_block_product;

typedef struct {
  void (*multiply)(const braid_block_product *product);
} braid_block_kernels;

void braid_fill_block_base(braid_block_kernels *table);
void braid_fill_block_avx2(braid_block_kernels *table);
void braid_fill_block_avx512(braid_block_kernels *table);

// The same function of each level, for kernels that need it directly.
void braid_block_multiply_base(const braid_block_product *product);
void braid_block_multiply_avx2(const braid_block_product *product);
void braid_block_multiply_avx512(const braid_block_product *product);
