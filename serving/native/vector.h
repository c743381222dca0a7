/* Vectors of LANES floats: the operations that every kernel writes its loops in. */
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__AVX2__) || defined(__FMA__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

enum {
  LANES = 8,
  STACK_BYTES = 1 << 20, /* most that a function may keep on the stack: threads have 8 MiB, as a rule */
};

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));

INLINE Floats load(const float *at) {
  Floats value;
  memcpy(&value, at, sizeof value);
  return value;
}

INLINE void store(float *at, Floats value) { memcpy(at, &value, sizeof value); }

INLINE Floats splat(float x) { return (Floats){x, x, x, x, x, x, x, x}; }

/* a * b + sum, rounded once where the processor can. */
INLINE Floats multiply_add(Floats a, Floats b, Floats sum) {
#ifdef __FMA__
  return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)sum);
#else
  return a * b + sum;
#endif
}

/* Lane by lane the smaller, and the larger; b where they are alike. */
INLINE Floats least(Floats a, Floats b) {
#ifdef __AVX__
  return (Floats)_mm256_min_ps((__m256)a, (__m256)b);
#else
  const Ints chosen = a < b;
  return (Floats)(((Ints)a & chosen) | ((Ints)b & ~chosen));
#endif
}

INLINE Floats most(Floats a, Floats b) {
#ifdef __AVX__
  return (Floats)_mm256_max_ps((__m256)a, (__m256)b);
#else
  const Ints chosen = a > b;
  return (Floats)(((Ints)a & chosen) | ((Ints)b & ~chosen));
#endif
}

/* The sum of the lanes, always in the same order. */
static inline float total(const float lanes[LANES]) {
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}
