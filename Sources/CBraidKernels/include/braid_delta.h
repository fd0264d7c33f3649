// The gated delta rule of one head, forward and backward, in chunks (the WY form); and its single step.
//
//   S_t = (I - beta_t k_t^T k_t) diag(exp(g_t)) S_{t-1} + beta_t k_t^T v_t,  o_t = scale q_t S_t
//
// float32; k, q and v are rows, S is [keys, values] and dense. Every exponential is of a decay summed over
// the steps that it spans (channel-wise decays whose sum over a few rows is small also as its inverse), so
// strong decays underflow to 0 and nothing overflows.
#pragma once
#include <stddef.h>

typedef enum { BRAID_DELTA_NO_DECAY, BRAID_DELTA_HEAD_DECAY, BRAID_DELTA_CHANNEL_DECAY } braid_delta_decay;

enum { BRAID_DELTA_CHUNK = 64 };

// One head of one sequence. Time step t of an array is at pointer + t * row.
typedef struct {
  size_t length, keys, values;
  const float *q, *k, *v, *beta;
  const float *g;              // log decay: one number a step, or [keys]; NULL without decay
  ptrdiff_t q_row, k_row, v_row, beta_row, g_row;
  braid_delta_decay decay;
  float scale;
  const float *initial_state;  // [keys, values], or NULL for zeros
  float *final_state;          // [keys, values], written; may be initial_state
  float *o;
  ptrdiff_t o_row;
  // For the gradient, or NULL: the states before each chunk [ceil(length / chunk), keys, values], and what
  // each value differs by from its prediction, [length, values].
  float *saved_states, *saved_errors;
  float *workspace;            // `workspace(keys, values)` floats, or `gradient_workspace`; 3 keys for `steps`
} braid_delta_forward;

typedef struct {
  const float *d_o;
  const float *d_final_state;  // [keys, values], or NULL for zeros
  float *dq, *dk, *dv, *dbeta;
  float *dg;                   // NULL without decay
  ptrdiff_t d_o_row, dq_row, dk_row, dv_row, dbeta_row, dg_row;
  float *d_initial_state;      // [keys, values]
  int accumulates;             // whether dq and dk are added to: several heads share a q and k
} braid_delta_gradient;

typedef struct {
  size_t (*workspace)(size_t keys, size_t values);
  size_t (*gradient_workspace)(size_t keys, size_t values);
  void (*forward)(const braid_delta_forward *head);
  // Reads saved_states and saved_errors; o, initial_state and final_state are not read.
  void (*backward)(const braid_delta_forward *head, const braid_delta_gradient *gradient);
  // As forward, step by step: for one or a few steps. Saves nothing.
  void (*steps)(const braid_delta_forward *head);
} braid_delta_kernels;

void braid_fill_delta_base(braid_delta_kernels *table);
void braid_fill_delta_avx2(braid_delta_kernels *table);
void braid_fill_delta_avx512(braid_delta_kernels *table);
