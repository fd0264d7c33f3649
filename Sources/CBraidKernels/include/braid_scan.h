// The selective scan of Mamba (S6), forward and backward, for one block of neighbouring channels.
//
//   dt = softplus?(delta + bias);  h[n] = exp(dt A[n]) h[n] + dt u B[n];  y = sum over n of C[n] h[n] + D u
//
// float32. Time step t of the scan is at position order[t] of every array (t itself where order is NULL), so the
// directions of a 2-D scan need no copies. A block holds at most `lanes` channels; pointers point at its first
// channel. States and tables of a block are [states][lanes], the lanes past `channels` 0.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct {
  const float *u;      // [positions] rows of u_row
  const float *delta;  // [positions] rows of delta_row
  const float *b;      // [positions] rows of bc_row, states each
  const float *c;
  float *y;            // [positions] rows of y_row; added to where accumulate is not 0
  size_t u_row, delta_row, bc_row, y_row;
  const int32_t *order;
  size_t length, channels, states;
  const float *a;      // [states][lanes]: A log2(e)
  const float *d;      // [channels], or NULL
  const float *bias;   // [channels], or NULL
  int softplus, accumulate;
  float *state;        // [states][lanes], in and out
  float *saved;        // NULL, or [ceil(length / chunk)][states][lanes]: the states before each chunk (written)
  size_t chunk;
} braid_scan_block;

typedef struct {
  const float *dy;     // as y
  float *du;           // as u; added to where accumulate is not 0
  float *ddelta;       // as delta
  float *dbc;          // [length (by time step)][ceil(states / 4)][8]: of B for four states, then of C
  int add_bc;          // whether dbc is added to, or written
  float *da;           // [states][lanes]: added to; the gradient of A itself
  float *dd, *dbias;   // [lanes]: added to
  float *dstate;       // [states][lanes]: in, the gradient of the final state; out, of the initial one
  float *workspace;    // braid_scan_kernels.workspace(states, chunk) floats
} braid_scan_gradient;

typedef struct {
  size_t lanes;
  void (*forward)(const braid_scan_block *block);
  // The block as in forward, with `saved` read; y and state are not used.
  void (*backward)(const braid_scan_block *block, const braid_scan_gradient *gradient);
  size_t (*workspace)(size_t states, size_t chunk);
  // A block's table from rows [channels][states], times the factor; and back.
  void (*to_table)(const float *rows, size_t states, size_t channels, float factor, float *table);
  void (*from_table)(const float *table, size_t states, size_t channels, float *rows);
} braid_scan_kernels;

void braid_fill_scan_base(braid_scan_kernels *table);
void braid_fill_scan_avx2(braid_scan_kernels *table);
void braid_fill_scan_avx512(braid_scan_kernels *table);
