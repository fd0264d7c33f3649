// Numbers of 16 bits, one at a time; after simd.h.
#pragma once

BRAID_INLINE uint16_t bf16_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if (x != x) return (uint16_t)((bits >> 16) | 0x40);
  return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

BRAID_INLINE float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
BRAID_INLINE uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}

BRAID_INLINE uint16_t f16_of(float x) {
  uint32_t bits = bits_of(x), sign = bits & 0x80000000u;
  bits ^= sign;
  uint32_t result;
  if (bits >= 0x47800000u) {  // 65536 and above, inf, NaN
    result = bits > 0x7f800000u ? 0x7e00 | ((bits >> 13) & 0x1ff) : 0x7c00;
  } else if (bits < 0x38800000u) {  // below the smallest normal: the addition aligns and rounds
    result = bits_of(float_of(bits) + 0.5f) - 0x3f000000u;
  } else {
    result = (bits - 0x38000000u + 0xfff + ((bits >> 13) & 1)) >> 13;  // may carry into infinity, rightly
  }
  return (uint16_t)(result | (sign >> 16));
}

BRAID_INLINE float f32_of(uint16_t h) {
  uint32_t bits = (uint32_t)(h & 0x7fff) << 13;
  float scaled = float_of(bits) * 5.192296858534828e33f;  // 2^112: also right below the smallest normal
  if ((h & 0x7c00) == 0x7c00) scaled = float_of(bits | 0x7f800000u | ((h & 0x3ff) ? 0x400000u : 0));
  return float_of(bits_of(scaled) | ((uint32_t)(h & 0x8000) << 16));
}
