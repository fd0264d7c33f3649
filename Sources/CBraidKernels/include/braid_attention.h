// Blocks of softmax attention: some query rows against at most BRAID_ATTENTION_KEYS keys.
//
// The scores of a few query rows at a time stay in the first cache; nothing of size queries x keys leaves the
// caller's scratch. A softmax over more keys runs block by block with a running maximum and sum (Milakov and
// Gimelshein; Dao et al., FlashAttention), scores in units of log 2.
//
// Rows lie anywhere: row i of an operand is base + offsets[i], offsets in elements, a negative one standing for a
// row of zeros. Packed operands have columns in panels of `panel` floats, padded with zeros.
#pragma once
#include <stddef.h>
#include <stdint.h>

// The most keys in a block; also the distance between rows of scores.
#define BRAID_ATTENTION_KEYS 320
// Query rows that a kernel handles at a time at most; scratch is sized by it.
#define BRAID_ATTENTION_ROWS 14

// What the scores are made of; shared by forward and backward.
typedef struct {
  size_t rows, n, d, dv;  // query rows, keys (<= BRAID_ATTENTION_KEYS), key width, value width
  const float *queries;   // transposed, [d][query_row], not scaled
  size_t query_row;       // at least rows; an odd number of cache lines keeps them out of one another's sets
  const float *keys;      // transposed panels, scaled by (softmax scale) log2(e)
  // Optional: bias[r * bias_stride + j] * bias_scale is added to the scores (bias_scale has log2(e) in it).
  const float *bias;
  size_t bias_stride;
  float bias_scale;
  // Optional: masks[r] is NULL or n numbers added to row r, in units of log 2.
  const float *const *masks;
  // Scores s become cap tanh(s / cap) before bias and masks, in units of log 2; 0 for none.
  float cap;
  // Key j takes part in row r where below <= j - r <= above; PTRDIFF_MIN and PTRDIFF_MAX for no limit.
  ptrdiff_t below, above;
  // The first `always` keys take part whatever `below` says.
  size_t always;
} braid_attention_scores;

// n rows of d elements that a later call gathers: asked for while this one runs.
typedef struct {
  const float *base;
  const ptrdiff_t *offsets;
  size_t n, d;
} braid_attention_soon;

typedef struct {
  braid_attention_scores scores;
  const float *values;    // row panels
  braid_attention_soon soon[3];
  int first;              // whether this is the first key block of the rows: running values start here
  float *maximum, *total; // [rows], running
  float *output;          // [rows][dv rounded up to panels], running, not yet divided by total
  float *scratch;         // BRAID_ATTENTION_ROWS * BRAID_ATTENTION_KEYS
} braid_attention_block;

// One position's query heads that share keys and values, against keys and values read in place.
typedef struct {
  size_t rows, n, d, dv;  // n in 1...BRAID_ATTENTION_KEYS
  const float *queries;   // [rows][d], scaled by (softmax scale) log2(e)
  // Key j starts at keys + p key_stride, value j at values + p value_stride, with p = positions[j], or j where
  // positions is NULL.
  const float *keys, *values;
  ptrdiff_t key_stride, value_stride;
  const int32_t *positions;
  // As in braid_attention_scores; bias[r * bias_stride + j].
  const float *bias;
  size_t bias_stride;
  float bias_scale, cap;
  // As in braid_attention_block; scratch: rows * BRAID_ATTENTION_KEYS.
  int first;
  float *maximum, *total, *output, *scratch;
} braid_attention_few;

// The widest head of the narrow kernel.
#define BRAID_ATTENTION_NARROW 8

// Query rows of one narrow head against all of its keys, without bias or mask.
typedef struct {
  size_t rows, n, d, dv;  // n at least 1; d and dv at most BRAID_ATTENTION_NARROW
  const float *queries;   // row i at queries + i query_row, not scaled
  ptrdiff_t query_row;
  const float *pairs;     // keys and values as pack_narrow leaves them, and what it returned
  float most;
  float *out;             // row i at out + i out_row
  ptrdiff_t out_row;
  float *lse;             // [rows] as `finish` writes it, or NULL
} braid_attention_narrow;

typedef struct {
  braid_attention_scores scores;
  const float *query_panels;     // row panels of the queries, not scaled
  const float *key_panels;       // row panels of the keys, not scaled
  const float *values;           // transposed panels
  const float *gradient;         // of the output: transposed, [dv][rows]
  const float *gradient_panels;  // and as row panels
  const float *lse;              // [rows] log2 of the sum of 2^score
  const float *delta;            // [rows] output . gradient
  float *dq, *dk, *dvalues;      // [rows][d], [n][d], [n][dv], widths rounded up to panels; added to, and still
                                 // to be scaled by the softmax scale (dq, dk)
  float *dbias;                  // optional, [rows][dbias_stride]: gradient of the (natural) scores, added to
  size_t dbias_stride;
  float *scratch;                // 3 * rows * BRAID_ATTENTION_KEYS
} braid_attention_backward_block;

typedef struct {
  // Columns of a panel: 2 vectors of the level.
  size_t panel;
  // out[k * ld + i] = scale * row i [k]: [d][ld], ld >= n.
  void (*transpose)(const float *base, const ptrdiff_t *offsets, size_t n, size_t d, float scale, float *out,
                    size_t ld);
  // Transposed panels: ceil(n / panel) blocks [d][panel], padded with zeros.
  void (*pack_transposed)(const float *base, const ptrdiff_t *offsets, size_t n, size_t d, float scale,
                          float *out);
  // Row panels: ceil(d / panel) blocks [n][panel], padded with zeros.
  void (*pack_rows)(const float *base, const ptrdiff_t *offsets, size_t n, size_t d, float *out);
  void (*forward)(const braid_attention_block *block);
  void (*forward_few)(const braid_attention_few *few);
  // Keys times `scale` (which has log2(e) in it) and values, [n][2 BRAID_ATTENTION_NARROW] padded with zeros, in the
  // kernel's units. Returns the largest norm of a key.
  float (*pack_narrow)(const float *keys, ptrdiff_t key_row, const float *values, ptrdiff_t value_row, size_t n,
                       size_t d, size_t dv, float scale, float *out);
  void (*forward_narrow)(const braid_attention_narrow *narrow);
  // Row i of out = output[i] / total[i] (zeros where total is 0); lse (optional) [rows] as the backward wants it.
  void (*finish)(const float *output, const float *maximum, const float *total, size_t rows, size_t dv,
                 float *out, const ptrdiff_t *offsets, float *lse);
  void (*backward)(const braid_attention_backward_block *block);
  // delta[i] = row i of a . row i of b
  void (*row_dot)(const float *a, const float *b, const ptrdiff_t *offsets, size_t n, size_t d, float *delta);
  // Row i of base += scale * x[i], x [n][d rounded up to panels]; negative offsets are skipped.
  void (*scatter_add)(const float *x, size_t n, size_t d, float scale, float *base, const ptrdiff_t *offsets);
} braid_attention_kernels;

void braid_fill_attention_base(braid_attention_kernels *table);
void braid_fill_attention_avx2(braid_attention_kernels *table);
void braid_fill_attention_avx512(braid_attention_kernels *table);
