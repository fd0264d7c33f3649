// Vectors of the level that includes this file: define BRAID_LANES (4, 8 or 16 floats) first, inside the target
// pragma. Clang's vector extensions; intrinsics only where BRAID_LANES says which ISA is there.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BRAID_INLINE static inline __attribute__((always_inline, unused))

typedef float vf __attribute__((vector_size(4 * BRAID_LANES)));
typedef int32_t vi __attribute__((vector_size(4 * BRAID_LANES)));
typedef double vd __attribute__((vector_size(8 * BRAID_LANES)));
typedef uint16_t vh __attribute__((vector_size(2 * BRAID_LANES)));
typedef float vf_unaligned __attribute__((vector_size(4 * BRAID_LANES), aligned(1), may_alias));
typedef uint16_t vh_unaligned __attribute__((vector_size(2 * BRAID_LANES), aligned(1), may_alias));

BRAID_INLINE vf vload(const float *p) { return *(const vf_unaligned *)p; }
BRAID_INLINE void vstore(float *p, vf v) { *(vf_unaligned *)p = v; }
BRAID_INLINE vf vset(float s) { return s - (vf){0}; }
BRAID_INLINE vi vseti(int32_t s) { return s - (vi){0}; }

#if BRAID_LANES == 16
BRAID_INLINE __mmask16 vtail_mask(size_t n) { return (__mmask16)((1u << n) - 1); }
// The first n (< lanes) elements; the rest are 0 and their memory is not touched.
BRAID_INLINE vf vload_first(const float *p, size_t n) { return (vf)_mm512_maskz_loadu_ps(vtail_mask(n), p); }
BRAID_INLINE void vstore_first(float *p, vf v, size_t n) {
  _mm512_mask_storeu_ps(p, vtail_mask(n), (__m512)v);
}
#elif BRAID_LANES == 8
BRAID_INLINE __m256i vtail_mask(size_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
BRAID_INLINE vf vload_first(const float *p, size_t n) { return (vf)_mm256_maskload_ps(p, vtail_mask(n)); }
BRAID_INLINE void vstore_first(float *p, vf v, size_t n) { _mm256_maskstore_ps(p, vtail_mask(n), (__m256)v); }
#else
BRAID_INLINE vf vload_first(const float *p, size_t n) {
  vf v = {0};
  for (size_t i = 0; i < BRAID_LANES; i++)
    if (i < n) v[i] = p[i];
  return v;
}
BRAID_INLINE void vstore_first(float *p, vf v, size_t n) {
  for (size_t i = 0; i < BRAID_LANES; i++)
    if (i < n) p[i] = v[i];
}
#endif

BRAID_INLINE vi viota(void) {
  vi v = {0};
  for (int i = 0; i < BRAID_LANES; i++) v[i] = i;
  return v;
}
// All ones in the first n lanes, 0 in the others.
BRAID_INLINE vi vfirst(size_t n) { return viota() < (int32_t)n; }
// The first n lanes; the others become 0.
BRAID_INLINE vf vkeep_first(vf v, size_t n) { return (vf)((vi)v & vfirst(n)); }

// a where the mask is all ones, b where it is 0.
BRAID_INLINE vf vselect(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }
BRAID_INLINE int vany(vi mask) { return __builtin_reduce_or(mask) != 0; }
BRAID_INLINE vf vabs(vf x) { return (vf)((vi)x & 0x7fffffff); }
// y with the sign of x.
BRAID_INLINE vf vcopysign(vf y, vf x) {
  return (vf)(((vi)y & 0x7fffffff) | ((vi)x & (int32_t)0x80000000));
}
BRAID_INLINE vi visnan(vf x) { return x != x; }

// The fused multiply-add where the level has it; a multiplication and an addition elsewhere.
#if BRAID_LANES >= 8
BRAID_INLINE vf vfma(vf a, vf b, vf c) { return __builtin_elementwise_fma(a, b, c); }
#else
BRAID_INLINE vf vfma(vf a, vf b, vf c) { return a * b + c; }
#endif

// The larger (smaller); b where either is NaN.
#if BRAID_LANES == 16
BRAID_INLINE vf vmax(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
BRAID_INLINE vf vmin(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
#elif BRAID_LANES == 8
BRAID_INLINE vf vmax(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
BRAID_INLINE vf vmin(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
#else
BRAID_INLINE vf vmax(vf a, vf b) { return vselect(a > b, a, b); }
BRAID_INLINE vf vmin(vf a, vf b) { return vselect(a < b, a, b); }
#endif

// Horizontal results, in a tree of fixed shape.
#if BRAID_LANES == 16
#define BRAID_TREE(v, op)                                                                                    \
  v = op(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));            \
  v = op(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));            \
  v = op(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));            \
  v = op(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
#elif BRAID_LANES == 8
#define BRAID_TREE(v, op)                                                                                    \
  v = op(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3));                                          \
  v = op(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5));                                          \
  v = op(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6));
#else
#define BRAID_TREE(v, op)                                                                                    \
  v = op(v, __builtin_shufflevector(v, v, 2, 3, 0, 1));                                                      \
  v = op(v, __builtin_shufflevector(v, v, 1, 0, 3, 2));
#endif
BRAID_INLINE vf vadd(vf a, vf b) { return a + b; }
BRAID_INLINE float vreduce_add(vf v) {
  BRAID_TREE(v, vadd)
  return v[0];
}
BRAID_INLINE float vreduce_max(vf v) {
  BRAID_TREE(v, vmax)
  return v[0];
}
BRAID_INLINE float vreduce_min(vf v) {
  BRAID_TREE(v, vmin)
  return v[0];
}
