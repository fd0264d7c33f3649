// Elementwise functions, reductions, conversions and optimiser steps over contiguous arrays.
//
// float32 unless the name says otherwise. Outputs may be the same array as an input (not a shifted overlap).
// Accuracy against the exact value: about 2 units in the last place, or 2e-7 of the argument where a function
// saturates (gelu). NaN in gives NaN out; infinities give the limit.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef enum {
  BRAID_UNARY_EXP,
  BRAID_UNARY_EXPM1,
  BRAID_UNARY_LOG,
  BRAID_UNARY_LOG1P,
  BRAID_UNARY_SQRT,
  BRAID_UNARY_RSQRT,
  BRAID_UNARY_RECIPROCAL,
  BRAID_UNARY_NEG,
  BRAID_UNARY_ABS,
  BRAID_UNARY_SIGN,
  BRAID_UNARY_SQUARE,
  BRAID_UNARY_SIN,
  BRAID_UNARY_COS,
  BRAID_UNARY_TANH,
  BRAID_UNARY_SIGMOID,
  BRAID_UNARY_SILU,
  BRAID_UNARY_GELU_ERF,
  BRAID_UNARY_GELU_TANH,
  BRAID_UNARY_SOFTPLUS,
  BRAID_UNARY_ERF,
  BRAID_UNARY_RELU,
  BRAID_UNARY_LEAKY_RELU,  // p0: slope below zero
  BRAID_UNARY_ELU,         // p0: scale of expm1 below zero
  BRAID_UNARY_AFFINE,      // p0 * x + p1
  BRAID_UNARY_CLAMP,       // to [p0, p1]
  BRAID_UNARY_POW,         // x to the power p0
  BRAID_UNARY_COUNT
} braid_unary_op;

typedef enum {
  BRAID_BINARY_ADD,
  BRAID_BINARY_SUB,
  BRAID_BINARY_MUL,
  BRAID_BINARY_DIV,
  BRAID_BINARY_MAX,  // NaN if either is
  BRAID_BINARY_MIN,
  BRAID_BINARY_POW,
  BRAID_BINARY_GREATER,  // 1 or 0
  BRAID_BINARY_GREATER_EQUAL,
  BRAID_BINARY_EQUAL,
  BRAID_BINARY_COUNT
} braid_binary_op;

typedef struct {
  // y[i] = op(x[i]); p0 and p1 as the operation's comment says, ignored by the others.
  void (*unary)(braid_unary_op op, const float *x, float *y, size_t n, float p0, float p1);
  // dx[i] = dy[i] * op'(x[i]), with y[i] = op(x[i]) at hand. Of x and y only what the rule needs is read, but
  // both must be valid pointers. The subgradient at a kink is 0 (relu, abs) or the side of the flat part.
  void (*unary_gradient)(braid_unary_op op, const float *x, const float *y, const float *dy, float *dx,
                         size_t n, float p0, float p1);
  // y[i] = op(a[i], b[i])
  void (*binary)(braid_binary_op op, const float *a, const float *b, float *y, size_t n);
  // y[i] = op(a[i], s), or op(s, a[i]) where scalar_first is not 0.
  void (*binary_scalar)(braid_binary_op op, const float *a, float s, int scalar_first, float *y, size_t n);
  // y[i] = condition[i] != 0 ? a[i] : b[i]
  void (*select)(const float *condition, const float *a, const float *b, float *y, size_t n);
  // y[i] += alpha * x[i]
  void (*axpy)(float alpha, const float *x, float *y, size_t n);
  // y[i] = alpha * a[i] + beta * b[i]
  void (*scale_add)(float alpha, const float *a, float beta, const float *b, float *y, size_t n);
  // y[i] = a[i] * b[i] + c[i]
  void (*multiply_add)(const float *a, const float *b, const float *c, float *y, size_t n);

  // Reductions of a run; n may be 0 (sums 0, max -inf, min +inf). Sums run in blocks whose totals are double.
  double (*sum)(const float *x, size_t n);
  double (*sum_squares)(const float *x, size_t n);
  double (*sum_absolute)(const float *x, size_t n);
  double (*dot)(const float *a, const float *b, size_t n);
  // NaN if any element is.
  float (*max)(const float *x, size_t n);
  float (*min)(const float *x, size_t n);
  // The first index of the largest (smallest) element, of the first NaN where there is one; n > 0.
  size_t (*argmax)(const float *x, size_t n);
  size_t (*argmin)(const float *x, size_t n);
  // y[c] += sum over r of x[r * stride + c]: columns of a [rows, columns] block; bias gradients.
  void (*column_sum)(const float *x, size_t rows, size_t columns, size_t stride, float *y);
  // y[c] += sum over r of a[r * stride_a + c] * b[r * stride_b + c]: gradients of per-channel scales.
  void (*column_dot)(const float *a, size_t stride_a, const float *b, size_t stride_b, size_t rows,
                     size_t columns, float *y);

  // Conversions. To 16-bit floats and integers: to nearest, ties to even, NaN kept (0 for integers).
  void (*f32_to_bf16)(const float *x, uint16_t *y, size_t n);
  void (*bf16_to_f32)(const uint16_t *x, float *y, size_t n);
  void (*f32_to_f16)(const float *x, uint16_t *y, size_t n);
  void (*f16_to_f32)(const uint16_t *x, float *y, size_t n);
  // y = x * scale
  void (*u8_to_f32)(const uint8_t *x, float scale, float *y, size_t n);
  void (*u16_to_f32)(const uint16_t *x, float scale, float *y, size_t n);
  // y = round(clamp(x * scale, 0, the type's maximum))
  void (*f32_to_u8)(const float *x, float scale, uint8_t *y, size_t n);
  void (*f32_to_u16)(const float *x, float scale, uint16_t *y, size_t n);
  void (*i32_to_f32)(const int32_t *x, float *y, size_t n);
  void (*i64_to_f32)(const int64_t *x, float *y, size_t n);
  // Towards zero, saturating.
  void (*f32_to_i32)(const float *x, int32_t *y, size_t n);
  void (*f32_to_i64)(const float *x, int64_t *y, size_t n);
  // y[r, i] = x[r, i] for i < n, rows x_row and y_row elements of 4 bytes apart.
  void (*copy_rows)(const float *x, ptrdiff_t x_row, float *y, ptrdiff_t y_row, size_t rows, size_t n);

  // One AdamW step (Loshchilov and Hutter, decoupled decay) of a run of parameters:
  //   g' = gradient_scale * g;  m = beta1 m + (1 - beta1) g';  v = beta2 v + (1 - beta2) g'^2
  //   p = p (1 - rate decay) - rate (m / correction1) / (sqrt(v / correction2) + epsilon)
  // with correction_i = 1 - beta_i^step.
  void (*adamw)(float *p, const float *g, float *m, float *v, size_t n, float rate, float beta1, float beta2,
                float epsilon, float decay, float correction1, float correction2, float gradient_scale);
  // y[i] += weight * (x[i] - y[i])
  void (*lerp)(float weight, const float *x, float *y, size_t n);
} braid_math_kernels;

void braid_fill_math_base(braid_math_kernels *table);
void braid_fill_math_avx2(braid_math_kernels *table);
void braid_fill_math_avx512(braid_math_kernels *table);
