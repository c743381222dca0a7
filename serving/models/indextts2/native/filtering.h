/* Vectors of floats, and minimal filtering: a few outputs of a filter from fewer products than taps times outputs.
 *
 * A scheme makes OUTPUTS outputs of a filter of `taps` taps from OUTPUTS + taps - 1 inputs with as many products, one a
 * point: y = out ((kernel g) * (in d)), with g the taps and d the inputs. Points are 0, 1, -1, 2, and for more taps -2
 * and -1/2, and infinity (Toom-Cook). The matrix of the taps lies with their packing (vocoder_kernels.py). */
#pragma once

#include <stdint.h>
#include <string.h>

#ifdef __FMA__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

enum {
  LANES = 8,
  OUTPUTS = 4, /* of a scheme of two taps or more; a scheme of one tap makes one output */
  MAX_POINTS = 7,
};

typedef float Floats __attribute__((vector_size(4 * LANES)));

INLINE Floats load(const float *at) {
  Floats value;
  memcpy(&value, at, sizeof value);
  return value;
}

INLINE void store(float *at, Floats value) { memcpy(at, &value, sizeof value); }

INLINE Floats splat(float x) { return (Floats){x, x, x, x, x, x, x, x}; }

INLINE Floats multiply_add(Floats a, Floats b, Floats sum) {
#ifdef __FMA__
  return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)sum);
#else
  return sum + a * b;
#endif
}

/* Rows of in by columns of the inputs. */
static const float IN2[5][5] = {
    {2, -1, -2, 1, 0}, {0, -2, -1, 1, 0}, {0, 2, -3, 1, 0}, {0, -1, 0, 1, 0}, {0, 2, -1, -2, 1},
};
static const float IN3[6][6] = {
    {4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
    {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1},
};
static const float IN4[7][7] = {
    {2, 4, -2.5f, -5, 0.5f, 1, 0}, {0, -2, -6, -3.5f, 1.5f, 1, 0}, {0, 2, 2, -4.5f, -0.5f, 1, 0},
    {0, -1, -2.5f, 0, 2.5f, 1, 0}, {0, 1, 1.5f, -2, -1.5f, 1, 0},  {0, 4, 0, -5, 0, 1, 0},
    {0, 2, 4, -2.5f, -5, 0.5f, 1},
};
/* Outputs by points. */
static const float OUT2[OUTPUTS][5] = {{1, 1, 1, 1, 0}, {0, 1, -1, 2, 0}, {0, 1, 1, 4, 0}, {0, 1, -1, 8, 1}};
static const float OUT3[OUTPUTS][6] = {
    {1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}};
static const float OUT4[OUTPUTS][7] = {{1, 1, 1, 1, 1, 1, 0},
                                       {0, 1, -1, 2, -2, -0.5f, 0},
                                       {0, 1, 1, 4, 4, 0.25f, 0},
                                       {0, 1, -1, 8, -8, -0.125f, 1}};

INLINE float in_of(int taps, int point, int input) {
  return taps == 4 ? IN4[point][input] : taps == 3 ? IN3[point][input] : taps == 2 ? IN2[point][input] : 1.0f;
}

INLINE float out_of(int taps, int output, int point) {
  return taps == 4 ? OUT4[output][point] : taps == 3 ? OUT3[output][point] : taps == 2 ? OUT2[output][point] : 1.0f;
}

INLINE int outputs_of(int taps) { return taps == 1 ? 1 : OUTPUTS; }

INLINE int points_of(int taps) { return outputs_of(taps) + taps - 1; }

/* sum + factor * x, for a factor known when this is compiled. */
INLINE Floats add_scaled(Floats sum, float factor, Floats x) {
  if (factor == 0.0f) return sum;
  if (factor == 1.0f) return sum + x;
  if (factor == -1.0f) return sum - x;
  return multiply_add(splat(factor), x, sum);
}
