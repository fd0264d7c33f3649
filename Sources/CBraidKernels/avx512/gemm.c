#include "braid_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), \
                             apply_to = function)

#define SUFFIX gemm_avx512
#define LANES 16
#define VECTORS 2
#define ROWS 14
#define HALF 1
#include "../common/gemm.inc"

#pragma clang attribute pop
#pragma clang attribute push(                                                                        \
    __attribute__((target("avx512bf16,avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), apply_to = function)

// One micro-tile in bfloat16: A is rows of pairs, `a_row` pairs apart; B pairs of rows.
typedef struct {
  const int *a;
  size_t a_row, pairs;
  const uint16_t *b;
  const float *bias;
  float *out;
  ptrdiff_t out_row;
} tile16_arguments;

INLINE void tile16(const int rows, const int full, const int half, const tile16_arguments *t) {
  __m512 sum[14][2];
  __m256 rest[14];
  FULL_UNROLL for (int r = 0; r < rows; r++) {
    FULL_UNROLL for (int v = 0; v < full; v++)
      sum[r][v] = t->bias ? _mm512_loadu_ps(t->bias + 16 * v) : _mm512_setzero_ps();
    if (half) rest[r] = t->bias ? _mm256_loadu_ps(t->bias + 16 * full) : _mm256_setzero_ps();
  }
  const size_t width = (size_t)(32 * full + 16 * half);
  const char *p0 = (const char *)t->a;
  ptrdiff_t stride = (ptrdiff_t)t->a_row * 4, triple = stride * 3;
  const char *p1 = p0 + 4 * stride, *p2 = p0 + 8 * stride, *p3 = p0 + 12 * stride;
  __asm__("" : "+r"(p1), "+r"(p2), "+r"(p3));
  __asm__("" : "+r"(stride), "+r"(triple));
  const uint16_t *b = t->b;
  const size_t pairs = t->pairs;
  for (size_t i = 0; i < pairs; i++) {
    __m512bh bv[2];
    __m256bh bh = {0};
    FULL_UNROLL for (int v = 0; v < full; v++) bv[v] = (__m512bh)_mm512_loadu_si512(b + 32 * v);
    if (half) bh = (__m256bh)_mm256_loadu_si256((const __m256i *)(b + 32 * full));
    FULL_UNROLL for (int r = 0; r < rows; r++) {
      const char *p = r < 4 ? p0 : r < 8 ? p1 : r < 12 ? p2 : p3;
      const int x = *(const int *)(p + ((r & 3) == 3 ? triple : (r & 3) * stride));
      FULL_UNROLL for (int v = 0; v < full; v++)
        sum[r][v] = _mm512_dpbf16_ps(sum[r][v], (__m512bh)_mm512_set1_epi32(x), bv[v]);
      if (half) rest[r] = _mm256_dpbf16_ps(rest[r], (__m256bh)_mm256_set1_epi32(x), bh);
    }
    b += width;
    p0 += 4, p1 += 4, p2 += 4, p3 += 4;
  }
  FULL_UNROLL for (int r = 0; r < rows; r++) {
    FULL_UNROLL for (int v = 0; v < full; v++) _mm512_storeu_ps(t->out + r * t->out_row + 16 * v, sum[r][v]);
    if (half) _mm256_storeu_ps(t->out + r * t->out_row + 16 * full, rest[r]);
  }
}

#define TILE16(by, q, r) \
  static void tile16_##q##_##r(const tile16_arguments *t) { tile16(r, q / 2, q % 2, t); }
WIDTHS(TILE16, 0)
#define ENTRY16(by, q, r) [q - 1][r - 1] = tile16_##q##_##r,
static void (*const tiles16[4][ROWS])(const tile16_arguments *) = {WIDTHS(ENTRY16, 0)};

static void pack16_native(size_t k, size_t columns, const float *b, ptrdiff_t row, ptrdiff_t column_stride,
                          uint16_t *out) {
  const size_t width = (columns + QUANTUM - 1) / QUANTUM * QUANTUM;
  for (size_t i = 0; i < k + k % 2; i++) {
    for (size_t j = 0; j < width; j++)
      out[(i / 2 * width + j) * 2 + i % 2] =
          i < k && j < columns ? NAME(round16)(b[(ptrdiff_t)i * row + (ptrdiff_t)j * column_stride]) : 0;
  }
}

static void block16_native(const braid_gemm_block *g) {
  const braid_epilogue *e = g->epilogue;
  const size_t even = g->k + g->k % 2;
  uint16_t *a = (uint16_t *)g->scratch;
  for (size_t r = 0; r < g->m; r++) {
    const float *from = g->a + (ptrdiff_t)r * g->a_row;
    uint16_t *to = a + r * even;
    size_t i = 0;
    if (g->a_column == 1)
      for (; i + 16 <= g->k; i += 16)
        _mm256_storeu_si256((__m256i *)(to + i), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + i)));
    for (; i < g->k; i++) to[i] = NAME(round16)(from[(ptrdiff_t)i * g->a_column]);
    if (i < even) to[i] = 0;
  }
  const int plain = e->activation == BRAID_ACTIVATION_NONE && e->scale == 1.0f && !e->residual;
  const size_t tiles = (g->m + ROWS - 1) / ROWS;
  _Alignas(64) float buffer[ROWS * PANEL], edge[PANEL];
  tile16_arguments t = {.a_row = even / 2, .pairs = even / 2};
  for (size_t column = 0; column < g->n; column += PANEL) {
    const size_t columns = g->n - column < PANEL ? g->n - column : PANEL;
    const size_t quanta = (columns + QUANTUM - 1) / QUANTUM, width = quanta * QUANTUM;
    t.b = g->b16 + column * even;
    t.bias = e->bias ? e->bias + column : NULL;
    if (t.bias && columns < width) {
      for (size_t j = 0; j < width; j++) edge[j] = j < columns ? t.bias[j] : 0.0f;
      t.bias = edge;
    }
    const int direct = plain && columns == width;
    size_t row = 0;
    for (size_t i = 0; i < tiles; i++) {
      const size_t next = g->m * (i + 1) / tiles, rows = next - row;
      float *c = g->c + (ptrdiff_t)row * g->c_row + column;
      t.a = (const int *)(a + row * even);
      t.out = direct ? c : buffer;
      t.out_row = direct ? g->c_row : PANEL;
      tiles16[quanta - 1][rows - 1](&t);
      if (!direct)
        NAME(finish_tile)(rows, columns, buffer, PANEL, NULL, c, g->c_row,
                          e->residual ? e->residual + (ptrdiff_t)row * e->residual_row + column : NULL, e);
      row = next;
    }
  }
}

#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), \
                             apply_to = function)

void braid_fill_gemm_avx512(braid_gemm_kernels *table) {
  NAME(fill)(table);
  if (__builtin_cpu_supports("avx512bf16")) {
    table->block16 = block16_native;
    table->pack16 = pack16_native;
    table->is_native16 = 1;
  }
}

#pragma clang attribute pop
#else
void braid_fill_gemm_avx512(braid_gemm_kernels *table) { (void)table; }
#endif
