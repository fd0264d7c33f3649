// Linear attention with decay, one chunk of tokens of one head at a time, or all of a head's.
//
//   S_t = exp(g_t) S_{t-1} + k_t^T v_t;   o_t = scale q_t S_t
//
// float32. q, k, dq and dk are [length][keys] without gaps; rows of v, o, dv and d_o lie apart as said. g_t is one
// number a token (`scalar`) or one a key (`channels`: exp(g_t) multiplies the rows of S). Decays below -120 act as
// zeros. Nothing is divided by a decay that could vanish, so that any of them is safe.
#pragma once
#include <stddef.h>

#include "braid_block.h"

typedef struct {
  size_t length, keys, values;
  const float *q, *k;
  const float *v;
  ptrdiff_t v_row;
  // g: decay[t * decay_row], or rows of `keys` from decay + t * decay_row on; NULL (scalar alone): no decay.
  const float *decay;
  ptrdiff_t decay_row;
  float scale;
  const float *scores;  // scalar alone: [length] rows of score_row(length), q_i . k_j for j <= i
  float *state;         // [keys] rows of state_row: S before the chunk; forward leaves S after it
  ptrdiff_t state_row;
  int is_fresh;         // S before the chunk is zero and is not read
  float *o;             // forward
  ptrdiff_t o_row;
  float *workspace;     // forward_workspace or backward_workspace floats, 64-byte aligned
  braid_block_ahead *ahead; // what to fetch meanwhile, or NULL
} braid_recurrence_chunk;

// A whole sequence of one head, with one decay a key.
typedef struct {
  size_t length, keys, values;
  // Rows of step t begin at pointer + t * row.
  const float *q, *k, *v, *decay;
  ptrdiff_t q_row, k_row, v_row, decay_row;
  float scale;
  float *state;         // [keys] rows of state_row: in, unless is_fresh; out
  ptrdiff_t state_row;
  int is_fresh;
  float *o;
  ptrdiff_t o_row;
  float *saved;         // NULL, or the states before each chunk but a fresh one: saved + chunk * saved_chunk, state_row
  ptrdiff_t saved_chunk;
  float *workspace;     // sequence_workspace floats, 64-byte aligned
} braid_recurrence_sequence;

enum { BRAID_RECURRENCE_CHUNK = 64 };

// Gradients of a sequence, dense rows of step t at pointer + t * row. All are written.
typedef struct {
  const float *d_o;
  ptrdiff_t do_row;
  float *dstate;        // [keys] rows of dstate_row: in, the gradient of the last S; out, of the first
  ptrdiff_t dstate_row;
  float *dq, *dk, *dv, *ddecay;
  ptrdiff_t dq_row, dk_row, dv_row, ddecay_row;
} braid_recurrence_sequence_gradient;

typedef struct {
  const float *d_o;
  ptrdiff_t do_row;
  float *dstate;        // [keys] rows of dstate_row: in, the gradient of S after the chunk; out, of S before it
  ptrdiff_t dstate_row;
  float *dq, *dk;       // added to; scalar: without the part that `scores` carries
  float *dscores;       // scalar alone: as scores, added to: the gradient of q_i . k_j; beyond the diagonal left alone
  float *dv;
  ptrdiff_t dv_row;
  float *ddecay;        // written, as decay lies (ddecay_row between tokens); NULL without decay
  ptrdiff_t ddecay_row;
} braid_recurrence_gradient;

typedef struct {
  // Floats between rows of scores of a chunk.
  size_t (*score_row)(size_t length);
  size_t (*forward_workspace)(size_t length, size_t keys, size_t values);
  size_t (*backward_workspace)(size_t length, size_t keys, size_t values);
  // scores = q k^T on and below the diagonal.
  void (*scores)(size_t length, size_t keys, const float *q, const float *k, float *scores);
  // dq += dscores k, dk += dscores^T q. The elements of dscores beyond the diagonal become 0.
  void (*scores_gradient)(size_t length, size_t keys, const float *q, const float *k, float *dscores, float *dq,
                          float *dk);
  void (*scalar_forward)(const braid_recurrence_chunk *chunk);
  void (*scalar_backward)(const braid_recurrence_chunk *chunk, const braid_recurrence_gradient *gradient);
  size_t (*sequence_workspace)(size_t keys, size_t values);
  void (*channels_forward)(const braid_recurrence_sequence *sequence);
  size_t (*sequence_gradient_workspace)(size_t keys, size_t values);
  // Reads saved; o and state are not read.
  void (*channels_backward)(const braid_recurrence_sequence *sequence,
                            const braid_recurrence_sequence_gradient *gradient);
} braid_recurrence_kernels;

void braid_fill_recurrence_base(braid_recurrence_kernels *table);
void braid_fill_recurrence_avx2(braid_recurrence_kernels *table);
void braid_fill_recurrence_avx512(braid_recurrence_kernels *table);
