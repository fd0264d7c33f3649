// Normalisation and softmax over rows, and the per-column passes of group, instance and batch norm.
//
// float32, rows contiguous. Statistics take two passes (mean, then squared distances). Arrays marked optional may
// be NULL. y may be x, and dx may be dy.
#pragma once
#include <stddef.h>
#include <stdint.h>

// out = h rstd gamma with h = (y + skip x) SiLU(gate) and rstd = 1 / sqrt(mean square of h over the group + epsilon).
typedef struct {
  size_t rows, n, groups;           // a row is `groups` groups of n
  const float *y, *x, *gate;        // rows y_row, x_row, gate_row floats apart
  ptrdiff_t y_row, x_row, gate_row;
  const float *skip, *gamma;        // [groups * n]
  float epsilon;
  float *out;                       // rows without gaps; may be y where y has none
} braid_gated_norm;

typedef struct {
  // y[r] = (x[r] - mean) rstd gamma + beta over each row of n; rstd = 1 / sqrt(variance + epsilon).
  // gamma, beta [n], mean, rstd [rows] (written): optional.
  void (*layer_norm)(const float *x, size_t rows, size_t n, const float *gamma, const float *beta,
                     float epsilon, float *y, float *mean, float *rstd);
  // dx (optional) of layer_norm; dgamma[n] and dbeta[n] (optional) are added to. gamma optional.
  void (*layer_norm_backward)(const float *x, const float *dy, size_t rows, size_t n, const float *gamma,
                              const float *mean, const float *rstd, float *dx, float *dgamma, float *dbeta);
  // y[r] = x[r] rstd gamma with rstd = 1 / sqrt(mean square + epsilon). gamma [n], rstd [rows]: optional.
  void (*rms_norm)(const float *x, size_t rows, size_t n, const float *gamma, float epsilon, float *y,
                   float *rstd);
  void (*gated_rms_norm)(const braid_gated_norm *norm);
  void (*rms_norm_backward)(const float *x, const float *dy, size_t rows, size_t n, const float *gamma,
                            const float *rstd, float *dx, float *dgamma);

  // y[c] += sum over r of (x[r, c] - centre[c])^2
  void (*column_deviation)(const float *x, size_t rows, size_t columns, const float *centre, float *y);
  // y[c] += sum over r of a[r, c] (x[r, c] - centre[c])
  void (*column_covariance)(const float *a, const float *x, size_t rows, size_t columns, const float *centre,
                            float *y);
  // y[r, c] = x[r, c] scale[c] + shift[c]
  void (*column_affine)(const float *x, size_t rows, size_t columns, const float *scale, const float *shift,
                        float *y);
  // y[r, c] = a[r, c] p[c] + b[r, c] q[c] + s[c]
  void (*column_combine)(const float *a, const float *b, size_t rows, size_t columns, const float *p,
                         const float *q, const float *s, float *y);

  // y[r, c] = PReLU(x[r, c] scale[c] + shift[c]), with slope[c] below 0; rows of y are y_row floats apart.
  void (*column_affine_prelu)(const float *x, size_t rows, size_t columns, ptrdiff_t y_row, const float *scale,
                              const float *shift, const float *slope, float *y);
  // With z = x scale + shift and dz the gradient of z (rows of dy are dy_row floats apart), adds the sums over r of
  // dz, dz (x - centre) and dy min(z, 0) to sums[3, columns].
  void (*column_prelu_sums)(const float *x, const float *dy, size_t rows, size_t columns, ptrdiff_t dy_row,
                            const float *scale, const float *shift, const float *centre, const float *slope,
                            float *sums);
  // dx[r, c] = dz[r, c] scale[c] + x[r, c] q[c] + s[c], dz as before.
  void (*column_prelu_combine)(const float *x, const float *dy, size_t rows, size_t columns, ptrdiff_t dy_row,
                               const float *scale, const float *shift, const float *slope, const float *q,
                               const float *s, float *dx);

  // Softmax of scale * x over each row; a row of -inf alone gives zeros.
  void (*softmax)(const float *x, size_t rows, size_t n, float scale, float *y);
  // dx = scale y (dy - sum(y dy))
  void (*softmax_backward)(const float *y, const float *dy, size_t rows, size_t n, float scale, float *dx);
  // y = x - log sum exp(x) over each row
  void (*log_softmax)(const float *x, size_t rows, size_t n, float *y);
  // dx = dy - exp(y) sum(dy)
  void (*log_softmax_backward)(const float *y, const float *dy, size_t rows, size_t n, float *dx);
  // lse[r] = log sum exp(x[r])
  void (*log_sum_exp)(const float *x, size_t rows, size_t n, float *lse);
  // dx[r] = g[r] (exp(x[r] - lse[r]) - smoothing / n - (1 - smoothing) onehot(label[r])); a label outside
  // 0..<n gives a row of zeros.
  void (*cross_entropy_backward)(const float *x, const float *lse, const int64_t *labels, const float *g,
                                 size_t rows, size_t n, float smoothing, float *dx);
} braid_norm_kernels;

void braid_fill_norm_base(braid_norm_kernels *table);
void braid_fill_norm_avx2(braid_norm_kernels *table);
void braid_fill_norm_avx512(braid_norm_kernels *table);
