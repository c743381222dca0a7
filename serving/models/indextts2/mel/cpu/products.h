/* Products of 16-bit levels with many rows, in blocks as wide as the registers of the tier hold. */
#pragma once

#include "matrix.h"

enum {
#ifdef __AVX512VNNI__
  BLOCK_PANELS = 2, /* what is loaded of a row serves two products: with one, loads would bound the loop */
#else
  BLOCK_PANELS = 1,
#endif
  BLOCK_COLUMNS = BLOCK_PANELS * MATRIX_COLUMNS,
};

/* sums [MATRIX_ROWS][BLOCK_COLUMNS] = (if `more`, += ) scales[row] times the exact sums of one part, rounded to
 * float32. The panels of the block are `next` levels apart, each [inputs / 2][MATRIX_COLUMNS][2]; inputs is a multiple
 * of 2 * MATRIX_UNROLL. */
#ifdef __AVX512VNNI__
static
    __attribute__((noinline)) void add_block(const int16_t *panel, int64_t next, const int16_t *const from[MATRIX_ROWS],
                                             int32_t inputs, const float scales[MATRIX_ROWS], int more,
                                             float sums[MATRIX_ROWS][BLOCK_COLUMNS]) {
  __m512i left[MATRIX_ROWS], right[MATRIX_ROWS];
#pragma GCC unroll 6
  for (int row = 0; row < MATRIX_ROWS; ++row) left[row] = right[row] = _mm512_setzero_si512();
  for (int32_t k = 0; k < inputs; k += 2, panel += 2 * MATRIX_COLUMNS) {
    const __m512i first = _mm512_loadu_si512(panel), second = _mm512_loadu_si512(panel + next);
    _mm_prefetch((const char *)panel + MATRIX_AHEAD, _MM_HINT_T1);
    _mm_prefetch((const char *)(panel + next) + MATRIX_AHEAD, _MM_HINT_T1);
#pragma GCC unroll 6
    for (int row = 0; row < MATRIX_ROWS; ++row) {
      int32_t pair;
      memcpy(&pair, from[row] + k, sizeof pair);
      const __m512i x = _mm512_set1_epi32(pair);
      left[row] = _mm512_dpwssd_epi32(left[row], first, x);
      right[row] = _mm512_dpwssd_epi32(right[row], second, x);
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < MATRIX_ROWS; ++row) {
    const __m512 scale = _mm512_set1_ps(scales[row]);
    float *const at = sums[row];
    const __m512 none = _mm512_setzero_ps();
    const __m512 before = more ? _mm512_loadu_ps(at) : none;
    const __m512 after = more ? _mm512_loadu_ps(at + MATRIX_COLUMNS) : none;
    _mm512_storeu_ps(at, _mm512_fmadd_ps(_mm512_cvtepi32_ps(left[row]), scale, before));
    _mm512_storeu_ps(at + MATRIX_COLUMNS, _mm512_fmadd_ps(_mm512_cvtepi32_ps(right[row]), scale, after));
  }
}
#else
INLINE void add_block(const int16_t *panel, int64_t next, const int16_t *const from[MATRIX_ROWS], int32_t inputs,
                      const float scales[MATRIX_ROWS], int more, float sums[MATRIX_ROWS][BLOCK_COLUMNS]) {
  Floats part[MATRIX_ROWS][2];
  (void)next;
  part_sums(panel, from, inputs, part);
#pragma GCC unroll 6
  for (int row = 0; row < MATRIX_ROWS; ++row)
    for (int half = 0; half < 2; ++half) {
      float *const at = sums[row] + half * LANES;
      store(at, more ? multiply_add(part[row][half], splat(scales[row]), load(at)) : part[row][half] * scales[row]);
    }
}
#endif

/* y[r][c] = sums[r][c] * scale[c] + bias[c], for `rows` rows `stride` apart and `columns` columns; no bias if null. */
INLINE void finish_block(const float sums[MATRIX_ROWS][BLOCK_COLUMNS], const float *scale, const float *bias,
                         int32_t rows, int32_t columns, float *y, int64_t stride) {
  for (int32_t row = 0; row < rows; ++row, y += stride)
    for (int32_t c = 0; c < columns; c += LANES) {
      const Floats scaled = load(sums[row] + c) * load(scale + c);
      store(y + c, bias ? scaled + load(bias + c) : scaled);
    }
}

/* y[r][0..outputs) = matrix x + bias for r in 0..rows, y's rows `stride` apart. */
static void multiply_many(const Matrix *matrix, const Rows *x, int32_t rows, float *y, int32_t stride) {
  const int32_t inputs = matrix->inputs, parts = matrix->parts;
  const int64_t whole = (int64_t)inputs * parts * MATRIX_COLUMNS;
  for (int32_t column = 0; column < matrix->outputs; column += BLOCK_COLUMNS) {
    const int16_t *panel = (const int16_t *)matrix->levels + (int64_t)column * inputs * parts;
    const int32_t left = matrix->outputs - column, columns = left < BLOCK_COLUMNS ? left : BLOCK_COLUMNS;
    const int64_t next = columns < BLOCK_COLUMNS ? 0 : whole;
    for (int32_t first = 0; first < rows; first += MATRIX_ROWS) {
      const int32_t here = rows - first < MATRIX_ROWS ? rows - first : MATRIX_ROWS;
      float sums[MATRIX_ROWS][BLOCK_COLUMNS] __attribute__((aligned(64)));
      for (int32_t part = 0; part < parts; ++part) {
        const int16_t *from[MATRIX_ROWS];
        float scales[MATRIX_ROWS];
        for (int row = 0; row < MATRIX_ROWS; ++row) {
          const int32_t at = first + (row < here ? row : here - 1);
          from[row] = x->levels + at * x->row_stride + part * x->part_stride;
          scales[row] = x->scale[at + part * x->scale_stride];
        }
        add_block(panel + (int64_t)part * inputs * MATRIX_COLUMNS, next, from, inputs, scales, part > 0, sums);
      }
      finish_block(sums, matrix->scale + column, matrix->bias + column, here, columns,
                   y + (int64_t)first * stride + column, stride);
    }
  }
}
