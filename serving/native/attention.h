/* Softmax attention of a few queries of one head, in float32. */
#pragma once

#include "matrix.h"

enum {
  ATTENTION_KEYS = 16,     /* keys of a panel */
  ATTENTION_PREFETCH = 24, /* rows of a product fetched before they are used */
};

/* MATRIX_ROWS by 2 * LANES of a times b: a [MATRIX_ROWS] rows `stride` apart, b [depth] rows `width` apart. */
INLINE void block_product(const float *const a[MATRIX_ROWS], int64_t depth, const float *b, int64_t width,
                          Floats y[MATRIX_ROWS][2]) {
  Floats sums[MATRIX_ROWS][2] = {{{0}}};
  for (int64_t k = 0; k < depth; ++k, b += width) {
    __builtin_prefetch(b + ATTENTION_PREFETCH * width);
    const Floats left = load(b), right = load(b + LANES);
#pragma GCC unroll 6
    for (int row = 0; row < MATRIX_ROWS; ++row) {
      const Floats value = splat(a[row][k]);
      sums[row][0] = multiply_add(value, left, sums[row][0]);
      sums[row][1] = multiply_add(value, right, sums[row][1]);
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < MATRIX_ROWS; ++row) y[row][0] = sums[row][0], y[row][1] = sums[row][1];
}

/* y[r] (rows `stride` apart) = softmax(queries[r] keys) values for r in 0..rows, at most MATRIX_ROWS. queries
 * [rows][size], scaled already; keys [count / ATTENTION_KEYS, rounded up][size][ATTENTION_KEYS], finite past count;
 * values [count][size]; size a multiple of ATTENTION_KEYS. weights: scratch [MATRIX_ROWS][count rounded up to
 * ATTENTION_KEYS]. */
static void attend(const float *queries, const float *keys, const float *values, int32_t rows, int32_t count,
                   int32_t size, float *weights, float *y, int64_t stride) {
  const int32_t padded = (count + ATTENTION_KEYS - 1) / ATTENTION_KEYS * ATTENTION_KEYS;
  const float *from[MATRIX_ROWS];
  float shares[MATRIX_ROWS];
  Floats tile[MATRIX_ROWS][2];
  for (int row = 0; row < MATRIX_ROWS; ++row) from[row] = queries + (int64_t)(row < rows ? row : rows - 1) * size;
  for (int32_t key = 0; key < padded; key += ATTENTION_KEYS) {
    block_product(from, size, keys + (int64_t)key * size, ATTENTION_KEYS, tile);
    for (int row = 0; row < MATRIX_ROWS; ++row)
      memcpy(weights + (int64_t)row * padded + key, tile[row], sizeof tile[row]);
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
    shares[row] = 1.0f / total(sums);
  }
  for (int row = 0; row < MATRIX_ROWS; ++row) from[row] = weights + (int64_t)(row < rows ? row : rows - 1) * padded;
  for (int32_t c = 0; c < size; c += 2 * LANES) {
    block_product(from, count, values + c, size, tile);
    for (int row = 0; row < rows; ++row)
      for (int half = 0; half < 2; ++half) {
        store(y + row * stride + c + half * LANES, tile[row][half] * shares[row]);
      }
  }
}
