/* Attention of one query over the cached cells of one head, in float32. */
#pragma once

#include "matrix.h"

enum { ATTEND_SIZE = 64 /* channels of the widest head */ };

/* The sums of eight vectors, each in one lane. */
INLINE Floats sums_of(const Floats v[LANES]) {
#ifdef __AVX2__
  __m256 pairs[LANES / 2];
  for (int i = 0; i < LANES / 2; ++i) pairs[i] = _mm256_hadd_ps((__m256)v[2 * i], (__m256)v[2 * i + 1]);
  const __m256 a = _mm256_hadd_ps(pairs[0], pairs[1]), b = _mm256_hadd_ps(pairs[2], pairs[3]);
  return (Floats)_mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
#else
  Floats sums;
  for (int lane = 0; lane < LANES; ++lane)
    sums[lane] = ((v[lane][0] + v[lane][1]) + (v[lane][2] + v[lane][3])) +
                 ((v[lane][4] + v[lane][5]) + (v[lane][6] + v[lane][7]));
  return sums;
#endif
}

/* y [size] = softmax(query keys / sqrt(size)) values over keys and values [cells][size]. size is a multiple of
 * LANES and at most ATTEND_SIZE; weights [cells] rounded up to LANES is scratch. */
INLINE void attend_size(const int32_t size, const float *query, const float *keys, const float *values, int32_t cells,
                        float *weights, float *y) {
  const float scale = 1.0f / sqrtf((float)size);
  Floats q[ATTEND_SIZE / LANES], peaks, totals = {0}, out[ATTEND_SIZE / LANES];
  for (int c = 0; c < size / LANES; ++c) q[c] = load(query + c * LANES) * scale;
  for (int lane = 0; lane < LANES; ++lane) peaks[lane] = -1e30f;
  for (int32_t cell = 0; cell < cells; cell += LANES) {
    Floats v[LANES];
    for (int lane = 0; lane < LANES; ++lane) {
      /* Lanes past the end repeat the last cell, and weigh nothing below. */
      const float *key = keys + (int64_t)(cell + lane < cells ? cell + lane : cells - 1) * size;
      v[lane] = q[0] * load(key);
      for (int c = 1; c < size / LANES; ++c) v[lane] += q[c] * load(key + c * LANES);
    }
    const Floats scores = sums_of(v);
    const Ints larger = scores > peaks;
    peaks = (Floats)(((Ints)scores & larger) | ((Ints)peaks & ~larger));
    store(weights + cell, scores);
  }
  float peak = peaks[0];
  for (int lane = 1; lane < LANES; ++lane) peak = peaks[lane] > peak ? peaks[lane] : peak;
  for (int32_t cell = 0; cell < cells; ++cell) weights[cell] = exp_of(weights[cell] - peak);
  for (int32_t cell = cells; cell % LANES; ++cell) weights[cell] = 0.0f;
  for (int c = 0; c < size / LANES; ++c) out[c] = (Floats){0};
  for (int32_t cell = 0; cell < cells; cell += LANES) totals += load(weights + cell);
  for (int32_t cell = 0; cell < cells; ++cell)
    for (int c = 0; c < size / LANES; ++c) out[c] += weights[cell] * load(values + (int64_t)cell * size + c * LANES);
  float lanes[LANES];
  memcpy(lanes, &totals, sizeof lanes);
  const float share = 1.0f / total(lanes);
  for (int c = 0; c < size / LANES; ++c) {
    store(y + c * LANES, out[c] * share);
  }
}

static void attend(int32_t size, const float *query, const float *keys, const float *values, int32_t cells,
                   float *weights, float *y) {
  if (size == ATTEND_SIZE)
    attend_size(ATTEND_SIZE, query, keys, values, cells, weights, y);
  else
    attend_size(size, query, keys, values, cells, weights, y);
}
