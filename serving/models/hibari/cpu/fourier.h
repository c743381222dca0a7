/* Fourier transforms of FOURIER_SIZE real numbers, LANES rows at once: one row per lane. */
#pragma once

#include "vector.h"

enum {
  FOURIER_SIZE = 1200,
  FOURIER_HALF = FOURIER_SIZE / 2,
  FOURIER_BINS = FOURIER_HALF + 1,
  FOURIER_ROOM = (FOURIER_BINS + LANES - 1) / LANES * LANES, /* bins, to whole vectors */
};

typedef struct {
  Floats re, im;
} Complex;

/* Rows and columns of LANES by LANES numbers exchanged. */
INLINE void transpose(Floats x[LANES]) {
#ifdef __AVX__
  __m256 pairs[LANES], fours[LANES];
#pragma GCC unroll 4
  for (int i = 0; i < LANES; i += 2) {
    pairs[i] = _mm256_unpacklo_ps((__m256)x[i], (__m256)x[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps((__m256)x[i], (__m256)x[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < LANES; i += 4) {
    fours[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
    fours[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
    fours[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
    fours[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < LANES / 2; ++i) {
    x[i] = (Floats)_mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20);
    x[i + 4] = (Floats)_mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31);
  }
#else
  float from[LANES][LANES], to[LANES][LANES];
  memcpy(from, x, sizeof from);
  for (int i = 0; i < LANES; ++i)
    for (int j = 0; j < LANES; ++j) to[j][i] = from[i][j];
  memcpy(x, to, sizeof to);
#endif
}

static inline Complex plus(Complex a, Complex b) { return (Complex){a.re + b.re, a.im + b.im}; }
static inline Complex minus(Complex a, Complex b) { return (Complex){a.re - b.re, a.im - b.im}; }
static inline Complex scaled(Complex a, float f) { return (Complex){a.re * f, a.im * f}; }
static inline Complex turned(Complex a) { return (Complex){a.im, -a.re}; } /* by -i */
static inline Complex times(Complex a, const float *w) { /* w: cosine, sine of an angle; by its conjugate */
  return (Complex){a.re * w[0] + a.im * w[1], a.im * w[0] - a.re * w[1]};
}

/* The sums over j of a[j] e^(-2 pi i j k / radix). */
INLINE void butterfly(int radix, Complex *a) {
  if (radix == 2) {
    const Complex sum = plus(a[0], a[1]);
    a[1] = minus(a[0], a[1]), a[0] = sum;
  } else if (radix == 3) {
    const Complex sum = plus(a[1], a[2]), side = turned(scaled(minus(a[1], a[2]), 0.866025404f));
    const Complex rest = minus(a[0], scaled(sum, 0.5f));
    a[0] = plus(a[0], sum), a[1] = plus(rest, side), a[2] = minus(rest, side);
  } else if (radix == 4) {
    const Complex s = plus(a[0], a[2]), t = minus(a[0], a[2]), u = plus(a[1], a[3]), v = turned(minus(a[1], a[3]));
    a[0] = plus(s, u), a[1] = plus(t, v), a[2] = minus(s, u), a[3] = minus(t, v);
  } else {
    const Complex s = plus(a[1], a[4]), t = plus(a[2], a[3]), u = minus(a[1], a[4]), v = minus(a[2], a[3]);
    const Complex m = plus(a[0], plus(scaled(s, 0.309016994f), scaled(t, -0.809016994f)));
    const Complex n = plus(a[0], plus(scaled(s, -0.809016994f), scaled(t, 0.309016994f)));
    const Complex p = turned(plus(scaled(u, 0.951056516f), scaled(v, 0.587785252f)));
    const Complex q = turned(minus(scaled(u, 0.587785252f), scaled(v, 0.951056516f)));
    a[0] = plus(a[0], plus(s, t)), a[1] = plus(m, p), a[4] = minus(m, p), a[2] = plus(n, q), a[3] = minus(n, q);
  }
}

/* A stage of Stockham's transform: `stride` transforms of `length` points, x to y. radix and the others are constants
 * where it is called, so that what a butterfly takes and gives stays in registers. */
INLINE void stage(int radix, int length, int stride, const Complex *x, Complex *y, const float *turns) {
  const int part = length / radix;
  for (int p = 0; p < part; ++p)
    for (int q = 0; q < stride; ++q) {
      Complex a[5];
#pragma GCC unroll 5
      for (int k = 0; k < radix; ++k) a[k] = x[q + stride * (p + part * k)];
      butterfly(radix, a);
      y[q + stride * radix * p] = a[0];
#pragma GCC unroll 5
      for (int k = 1; k < radix; ++k)
        y[q + stride * (radix * p + k)] = part > 1 ? times(a[k], turns + 4 * p * k * stride) : a[k];
    }
}

/* The transform of FOURIER_HALF points, x to y; x is lost. turns [FOURIER_SIZE][2]: cosine and sine. */
static void transform(Complex *x, Complex *y, const float *turns) {
  stage(4, 600, 1, x, y, turns);
  stage(5, 150, 4, y, x, turns);
  stage(5, 30, 20, x, y, turns);
  stage(3, 6, 100, y, x, turns);
  stage(2, 2, 300, x, y, turns);
}
_Static_assert(FOURIER_HALF == 4 * 5 * 5 * 3 * 2, "the stages are those of 600 points");

/* Bin k of the transform of 2 FOURIER_HALF real numbers whose even and odd ones were transformed as z = even + i odd.
 */
static inline Complex real_bin(const Complex *z, int k, const float *turns) {
  const Complex a = z[k % FOURIER_HALF], b = z[(FOURIER_HALF - k) % FOURIER_HALF], mirror = {b.re, -b.im};
  return scaled(plus(plus(a, mirror), turned(times(minus(a, mirror), turns + 2 * k))), 0.5f);
}
