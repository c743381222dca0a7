/* Softmax attention of a few queries of one head, in float32. */
#pragma once

#include "matrix.h"

enum {
  KEYS = 16,        /* keys of a panel */
  STEPS_AHEAD = 24, /* rows of a product fetched before they are used */
};

static inline Floats fused(Floats a, Floats b, Floats sum) {
#ifdef __FMA__
  return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)sum);
#else
  return a * b + sum;
#endif
}

static inline Floats load(const float *from) {
  Floats value;
  memcpy(&value, from, sizeof value);
  return value;
}

static inline Floats every(float value) { return (Floats){0} + value; }

/* ROWS by 2 * LANES of a times b: a [ROWS] rows `stride` apart, b [depth] rows `width` apart. */
static inline __attribute__((always_inline)) void block_product(const float *const a[ROWS], int64_t depth,
                                                                const float *b, int64_t width, Floats y[ROWS][2]) {
  Floats sums[ROWS][2] = {{{0}}};
  for (int64_t k = 0; k < depth; ++k, b += width) {
    __builtin_prefetch(b + STEPS_AHEAD * width);
    const Floats left = load(b), right = load(b + LANES);
#pragma GCC unroll 6
    for (int row = 0; row < ROWS; ++row) {
      const Floats value = every(a[row][k]);
      sums[row][0] = fused(value, left, sums[row][0]);
      sums[row][1] = fused(value, right, sums[row][1]);
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < ROWS; ++row) y[row][0] = sums[row][0], y[row][1] = sums[row][1];
}

/* heard[r] (rows `stride` apart) = softmax(queries[r] keys) values for r in 0..rows, at most ROWS. queries
 * [rows][size], scaled already; keys [count / KEYS, rounded up][size][KEYS], finite past count; values [count][size];
 * size a multiple of KEYS. weights: scratch [ROWS][count rounded up to KEYS]. */
static void attend(const float *queries, const float *keys, const float *values, int32_t rows, int32_t count,
                   int32_t size, float *weights, float *heard, int64_t stride) {
  const int32_t padded = (count + KEYS - 1) / KEYS * KEYS;
  const float *from[ROWS];
  float worth[ROWS];
  Floats tile[ROWS][2];
  for (int row = 0; row < ROWS; ++row) from[row] = queries + (int64_t)(row < rows ? row : rows - 1) * size;
  for (int32_t key = 0; key < padded; key += KEYS) {
    block_product(from, size, keys + (int64_t)key * size, KEYS, tile);
    for (int row = 0; row < ROWS; ++row) memcpy(weights + (int64_t)row * padded + key, tile[row], sizeof tile[row]);
  }
  for (int row = 0; row < rows; ++row) {
    float *w = weights + (int64_t)row * padded, peaks[LANES], sums[LANES] = {0};
    for (int32_t key = count; key < padded; ++key) w[key] = -1e30f;
    for (int lane = 0; lane < LANES; ++lane) peaks[lane] = w[lane];
    for (int32_t key = 0; key < padded; key += LANES)
      for (int lane = 0; lane < LANES; ++lane) peaks[lane] = w[key + lane] > peaks[lane] ? w[key + lane] : peaks[lane];
    float peak = peaks[0];
    for (int lane = 1; lane < LANES; ++lane) peak = peaks[lane] > peak ? peaks[lane] : peak;
    for (int32_t key = 0; key < padded; key += LANES)
      for (int lane = 0; lane < LANES; ++lane) {
        w[key + lane] = exp_of(w[key + lane] - peak);
        sums[lane] += w[key + lane];
      }
    worth[row] = 1.0f / total(sums);
  }
  for (int row = 0; row < ROWS; ++row) from[row] = weights + (int64_t)(row < rows ? row : rows - 1) * padded;
  for (int32_t c = 0; c < size; c += 2 * LANES) {
    block_product(from, count, values + c, size, tile);
    for (int row = 0; row < rows; ++row)
      for (int half = 0; half < 2; ++half) {
        const Floats y = tile[row][half] * worth[row];
        memcpy(heard + row * stride + c + half * LANES, &y, sizeof y);
      }
  }
}
