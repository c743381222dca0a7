/* Products of a layer's matrix with the rows of a tile of frames, in the way that is quickest in the tier. */
#pragma once

#ifdef __AMX_INT8__
#include "wide_tiles.h"
#else
#include "strassen.h"
#endif

/* LANES sums from `at` on, times scale. */
INLINE Floats scaled(const int32_t *at, float scale) {
  Ints sums;
  memcpy(&sums, at, sizeof sums);
  return __builtin_convertvector(sums, Floats) * splat(scale);
}

/* y [rows][outputs] = matrix x + bias (+ plus [rows][outputs], which may be y, unless it is null). */
static void multiply_wide(const Wide *matrix, const WideRows *x, int32_t rows, const float *plus, float *y) {
  float totals[WIDE_ROWS][2][SUM_COLUMNS] __attribute__((aligned(64))); /* of the parts before */
  Sums sums __attribute__((aligned(64)));
  const int32_t outputs = matrix->outputs, half = outputs / 2, parts = matrix->parts;
  for (int32_t column = 0; column < half; column += SUM_COLUMNS) {
    const int32_t columns = half - column < SUM_COLUMNS ? half - column : SUM_COLUMNS;
    for (int32_t part = 0; part < parts; ++part)
      for (int32_t first = 0; first < rows; first += SUM_ROWS) {
        const int32_t end = rows - first < SUM_ROWS ? rows : first + SUM_ROWS;
        wide_block(matrix, x, part, first, end - first, column, sums);
        for (int32_t row = first; row < end; ++row)
          for (int side = 0; side < 2; ++side) {
            const int64_t at = (int64_t)row * outputs + side * half + column;
            const int32_t *from = sums_of(sums, row - first, side);
            const float *scale = matrix->scale + side * half + column, *bias = matrix->bias + side * half + column;
            float *total = totals[row][side];
            for (int32_t i = 0; i < columns; i += LANES) {
              Floats value = scaled(from + i, x->scale[part][row]);
              if (part) value += load(total + i);
              if (part < parts - 1) {
                store(total + i, value);
                continue;
              }
              value = value * load(scale + i) + load(bias + i);
              store(y + at + i, plus ? value + load(plus + at + i) : value);
            }
          }
      }
  }
}
