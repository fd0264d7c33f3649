// Elementary functions on the vectors of simd.h. Polynomials are minimax fits (relative error noted).
#include <math.h>

#include "powers.h"

// p * 2^n for an integral n with |n| < 300, given as float and as integer.
BRAID_INLINE vf vscale(vf p, vf n, vi k) {
#if BRAID_LANES == 16
  (void)k;
  return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  (void)n;
  vi half = k >> 1;  // two steps, so that results near overflow and below the smallest normal are right
  return p * (vf)((half + 127) << 23) * (vf)((k - half + 127) << 23);
#endif
}

#define BRAID_ROUND_MAGIC 12582912.0f  // 1.5 * 2^23: adding it rounds to an integer held in the low bits

// 2^x for finite x or -inf; below -150 it is 0. Relative error 2e-7.
BRAID_INLINE vf vexp2(vf x) {
  x = vmax(vset(-160.0f), x);  // in this order NaN stays
#if BRAID_LANES == 16
  vf n = (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  vi k = {0};
#else
  vf shifted = x + BRAID_ROUND_MAGIC;
  vi k = (vi)shifted - (vi)vset(BRAID_ROUND_MAGIC);
  vf n = shifted - BRAID_ROUND_MAGIC;
#endif
  vf r = x - n;
  vf p = vfma(r, vset(1.534534531e-04f), vset(1.340046059e-03f));
  p = vfma(r, p, vset(9.618494660e-03f));
  p = vfma(r, p, vset(5.550327525e-02f));
  p = vfma(r, p, vset(2.402264625e-01f));
  p = vfma(r, p, vset(6.931471825e-01f));
  p = vfma(r, p, vset(1.0f));
  return vscale(p, n, k);
}

// 2^x for x < 2^22 or -inf, with a polynomial of one degree less; 0 below -150. Relative error 2e-7.
BRAID_INLINE vf vexp2_fast(vf x) {
#if BRAID_LANES == 16
  // x - floor(x); scalef takes the floor of its second operand.
  const vf r = (vf)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  vf p = vfma(r, vset(1.877576639e-03f), vset(8.989340472e-03f));
  p = vfma(r, p, vset(5.582631742e-02f));
  p = vfma(r, p, vset(2.401536174e-01f));
  p = vfma(r, p, vset(6.931530731e-01f));
  p = vfma(r, p, vset(9.999999251e-01f));
  return (vf)_mm512_scalef_ps((__m512)p, (__m512)x);
#else
  return vexp2(x);
#endif
}

#if BRAID_LANES == 16
// 2^(x / VEXP2_32NDS) for |x| < 113 VEXP2_32NDS: a table of powers times a parabola. Fewer multiplications than a
// polynomial alone, where those are what bounds a loop. Relative error 3e-7.
#define VEXP2_32NDS 32.0f
BRAID_INLINE vf vexp2_of_32nds(vf x) {
  const vf n = x + vset(BRAID_ROUND_MAGIC);
  const vf r = (vf)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 power = _mm512_permutex2var_ps(_mm512_load_ps(braid_powers), (__m512i)n,
                                              _mm512_load_ps(braid_powers + 16));
  return (vf)((vi)power + ((vi)n << 18)) * vfma(r, r + vset(BRAID_POWERS_B), vset(BRAID_POWERS_C));
}
#endif

// r = x - n ln 2 with n = round(x / ln 2), for |x| < 200.
BRAID_INLINE vf vreduce_ln2(vf x, vf *n, vi *k) {
  vf shifted = vfma(x, vset(1.44269504f), vset(BRAID_ROUND_MAGIC));
  *k = (vi)shifted - (vi)vset(BRAID_ROUND_MAGIC);
  *n = shifted - BRAID_ROUND_MAGIC;
  vf r = vfma(*n, vset(-0.693359375f), x);
  return vfma(*n, vset(2.12194440e-4f), r);
}

BRAID_INLINE vf vclamp(vf x, float low, float high) {  // NaN stays
  x = vselect(x < low, vset(low), x);
  return vselect(x > high, vset(high), x);
}

BRAID_INLINE vf vexp(vf x) {
  vf n;
  vi k;
  vf r = vreduce_ln2(vclamp(x, -110.0f, 100.0f), &n, &k);
  vf q = vfma(r, vset(1.395171741e-03f), vset(8.369598538e-03f));
  q = vfma(r, q, vset(4.166618735e-02f));
  q = vfma(r, q, vset(1.666651219e-01f));
  q = vfma(r, q, vset(0.5f));
  return vscale(vfma(r * r, q, r) + 1.0f, n, k);
}

BRAID_INLINE vf vexpm1(vf x) {
  vf n;
  vi k;
  vf r = vreduce_ln2(vclamp(x, -30.0f, 100.0f), &n, &k);
  vf q = vfma(r, vset(1.991503232e-04f), vset(1.394205960e-03f));
  q = vfma(r, q, vset(8.333271369e-03f));
  q = vfma(r, q, vset(4.166634008e-02f));
  q = vfma(r, q, vset(1.666666716e-01f));
  q = vfma(r, q, vset(0.5f));
  vf p = vfma(r * r, q, r);
  vf s = vscale(vset(1.0f), n, k);  // inf at n = 128 and above, where the result is inf or within 2 of it
  vf y = vscale(p, n, k) + (s - 1.0f);
  y = vselect(x > 88.0f, vexp(x), y);
  return vselect(x == 0.0f, x, y);
}

BRAID_INLINE vf vlog(vf x) {
  vi tiny = x < 1.17549435e-38f;
  vf a = vselect(tiny, x * 8388608.0f, x);
  vi bits = (vi)a;
  vi e = ((bits - 0x3f3504f3) >> 23);  // exponent such that the mantissa lies in [sqrt(1/2), sqrt(2))
  vf m = (vf)(bits - (e << 23));
  e = e - (tiny & 23);
  vf n = __builtin_convertvector(e, vf);
  vf f = m - 1.0f;
  vf z = f * f;
  vf p = vfma(f, vset(7.0376836292e-2f), vset(-1.1514610310e-1f));
  p = vfma(f, p, vset(1.1676998740e-1f));
  p = vfma(f, p, vset(-1.2420140846e-1f));
  p = vfma(f, p, vset(1.4249322787e-1f));
  p = vfma(f, p, vset(-1.6668057665e-1f));
  p = vfma(f, p, vset(2.0000714765e-1f));
  p = vfma(f, p, vset(-2.4999993993e-1f));
  p = vfma(f, p, vset(3.3333331174e-1f));
  vf y = p * f * z;
  y = vfma(n, vset(-2.12194440e-4f), y);
  y = vfma(z, vset(-0.5f), y);
  y = f + y;
  y = vfma(n, vset(0.693359375f), y);
  y = vselect(x == INFINITY, x, y);
  y = vselect(x == 0.0f, vset(-INFINITY), y);
  return vselect((x < 0.0f) | visnan(x), vset(NAN), y);
}

BRAID_INLINE vf vlog1p(vf x) {
  vf u = 1.0f + x;
  vf y = vlog(u) + (x - (u - 1.0f)) / u;
  y = vselect((x == INFINITY) | (x == 0.0f), x, y);
  return vselect(x == -1.0f, vset(-INFINITY), y);
}

BRAID_INLINE vf vsigmoid(vf x) { return 1.0f / (1.0f + vexp(-x)); }

BRAID_INLINE vf vsilu(vf x) {
  x = vselect(x < -3.0e38f, vset(-3.0e38f), x);  // -inf / inf
  return x / (1.0f + vexp(-x));
}

BRAID_INLINE vf vtanh(vf x) {
  vf e = vexpm1(2.0f * vclamp(vabs(x), 0.0f, 12.0f));
  return vcopysign(e / (e + 2.0f), x);
}

BRAID_INLINE vf vsoftplus(vf x) { return vselect(x > 0.0f, x, vset(0.0f)) + vlog1p(vexp(-vabs(x))); }

// exp(a^2) erfc(a) for 0 <= a <= 10.1. Relative error 2e-8 before rounding.
BRAID_INLINE vf verfcx(vf a) {
  vf above = vfma(a, vset(2.0f), vset(1.0f));
  vf below = a + 2.0f;
  vf r = 1.0f / (above * below);
  vf t = (a - 2.0f) * above * r;
  vf p = vfma(t, vset(-4.005795927e-04f), vset(-1.229930785e-03f));
  p = vfma(t, p, vset(1.313525368e-03f));
  p = vfma(t, p, vset(8.631684817e-03f));
  p = vfma(t, p, vset(-8.059876040e-03f));
  p = vfma(t, p, vset(-5.420430005e-02f));
  p = vfma(t, p, vset(1.640553474e-01f));
  p = vfma(t, p, vset(-1.660314202e-01f));
  p = vfma(t, p, vset(-9.276398271e-02f));
  p = vfma(t, p, vset(1.276978374e+00f));
  return p * below * r;
}

BRAID_INLINE vf verf(vf x) {
  vf a = vclamp(vabs(x), 0.0f, 10.0f);
  vf z = a * a;
  vf p = vfma(z, vset(8.369576244e-05f), vset(-8.142580627e-04f));
  p = vfma(z, p, vset(5.201021209e-03f));
  p = vfma(z, p, vset(-2.685939334e-02f));
  p = vfma(z, p, vset(1.128369570e-01f));
  p = vfma(z, p, vset(-3.761263490e-01f));
  p = vfma(z, p, vset(1.128379226e+00f));
  vf far = 1.0f - vexp(-z) * verfcx(a);
  return vcopysign(vselect(a < 0.92f, a * p, far), x);
}

// The lower tail of the normal distribution at -a, 0 <= a <= 40, and exp(-a^2 / 2) with it: the tail is that times
// a polynomial in (a - 3) / (a + 3) over a + 3, relative error 5e-8 before rounding.
BRAID_INLINE vf vnormal_tail(vf a, vf *e) {
  *e = vexp2(a * a * -0.7213475204f);
  const vf r = 1.0f / (a + 3.0f);
  const vf s = vfma(r, vset(-6.0f), vset(1.0f));
  vf p = vfma(s, vset(-2.644914493e-04f), vset(-8.999226266e-04f));
  p = vfma(s, p, vset(1.075281063e-03f));
  p = vfma(s, p, vset(6.921566091e-03f));
  p = vfma(s, p, vset(-1.048004441e-02f));
  p = vfma(s, p, vset(-4.725561291e-02f));
  p = vfma(s, p, vset(2.300193757e-01f));
  p = vfma(s, p, vset(-5.093322992e-01f));
  p = vfma(s, p, vset(7.290836573e-01f));
  return *e * r * p;
}

BRAID_INLINE vf vgelu(vf x) {
  vf e;
  const vf a = vmin(vset(40.0f), vabs(x));  // in these orders NaN stays
  return vmax(vset(0.0f), x) - a * vnormal_tail(a, &e);
}

BRAID_INLINE vf vgelu_gradient(vf x) {
  vf e;
  const vf a = vmin(vset(40.0f), vabs(x)), t = vnormal_tail(a, &e);
  return vfma(vcopysign(a, x), e * 0.398942280f, vselect(x > 0.0f, 1.0f - t, t));
}

BRAID_INLINE vf vgelu_tanh(vf x) {
  x = vselect(x < -1.0e4f, vset(-1.0e4f), x);
  vf c = vclamp(x, -1.0e4f, 1.0e4f);
  vf u = c * vfma(c * c, vset(0.0713548163f), vset(1.59576912f));
  return x / (1.0f + vexp(-u));
}

BRAID_INLINE vf vgelu_tanh_gradient(vf x) {
  vf c = vclamp(x, -20.0f, 20.0f);
  vf u = c * vfma(c * c, vset(0.0713548163f), vset(1.59576912f));
  vf du = vfma(c * c, vset(0.214064449f), vset(1.59576912f));
  vf s = vsigmoid(u);
  return s + c * s * vsigmoid(-u) * du;
}

// sin (cosine = 0) or cos (cosine = 1): the reduction runs in double; beyond 2^20 libm takes over.
BRAID_INLINE vf vsincos(vf x, int cosine) {
  vi large = ~(vabs(x) <= 1048576.0f);
  vf y = vselect(large, vset(0.0f), x);
  vd d = __builtin_convertvector(y, vd);
  vd n = d * 0.63661977236758134308 + 6755399441055744.0;
  n = n - 6755399441055744.0;
  vd reduced = d - n * 1.57079632673412561417e+00;
  reduced = reduced - n * 6.07710050650619224932e-11;
  vf r = __builtin_convertvector(reduced, vf);
  vi k = __builtin_convertvector(n, vi) + cosine;
  vf z = r * r;
  vf s = vfma(z, vset(-1.9515295891e-4f), vset(8.3321608736e-3f));
  s = vfma(z, s, vset(-1.6666654611e-1f));
  s = vfma(s * z, r, r);
  vf c = vfma(z, vset(2.443315711809948e-5f), vset(-1.388731625493765e-3f));
  c = vfma(z, c, vset(4.166664568298827e-2f));
  c = vfma(c * z, z, vfma(z, vset(-0.5f), vset(1.0f)));
  vf result = vselect((k & 1) != 0, c, s);
  result = (vf)((vi)result ^ ((k & 2) << 30));
  if (vany(large))
    for (int i = 0; i < BRAID_LANES; i++)
      if (large[i]) result[i] = cosine ? cosf(x[i]) : sinf(x[i]);
  return result;
}
