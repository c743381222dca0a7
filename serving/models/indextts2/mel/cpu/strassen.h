/* Products of matrices by seven products of their quarters instead of eight, after Strassen, in Winograd's form.
 *
 * Rows are taken in pairs, inputs and outputs in halves: with A the quarters of a pair of rows and B those of the
 * matrix, C = A B is made of seven products of sums of A's quarters and sums of B's. In integers this is exact: sums
 * run modulo 2^32, so that it does not matter how large what lies between grows, as long as the result fits. It does by
 * Cauchy and Schwarz: no row in levels is longer than `norm`, which the longest row of weights allows. */
#pragma once

#include "products.h"

enum {
  STRASSEN_PRODUCTS = 7,
  STRASSEN_LEVEL = 8191, /* largest of an input: four of them are within 16 bits */
  STRASSEN_PARTS = 3,    /* most parts of a matrix */
  STRASSEN_PAIRS = 24,   /* most pairs of rows of a call */
};

/* As strassen.py lays it out. Its inputs come in parts as a Matrix's. Half the outputs is a multiple of MATRIX_COLUMNS,
 * half the inputs of a part of 2 * MATRIX_UNROLL. */
typedef struct {
  const int16_t *levels; /* [outputs / 2 / MATRIX_COLUMNS][parts][STRASSEN_PRODUCTS][inputs / 4][MATRIX_COLUMNS][2] */
  const float *scale;    /* [outputs] */
  const float *bias;     /* [outputs] */
  int32_t inputs, outputs, parts;
  float norm; /* of a part of a row in levels, at most */
} Strassen;

/* Rows as a product reads them: row 2 p and row 2 p + 1 make pair p. */
typedef struct {
  int16_t *levels; /* [parts][STRASSEN_PAIRS][STRASSEN_PRODUCTS][inputs / 2] */
  float scale[STRASSEN_PARTS][STRASSEN_PAIRS][2];
} Pairs;

/* Sums of a block of columns for MATRIX_ROWS pairs: [row of the pair][half of the outputs][pair][column]. */
typedef int32_t Quarters[2][2][MATRIX_ROWS][BLOCK_COLUMNS];

/* The whole numbers nearest to x, whose size is below 2^22. */
INLINE Ints whole(Floats x) { return (Ints)(x + splat(12582912.0f)) - 0x4b400000; /* 1.5 * 2^23 and its bits */ }

/* to [LANES] = levels, which are within 16 bits. */
INLINE void narrow(Ints levels, int16_t *to) {
  typedef int16_t Shorts __attribute__((vector_size(2 * LANES)));
  const Shorts narrowed = __builtin_convertvector(levels, Shorts);
  memcpy(to, &narrowed, sizeof narrowed);
}

/* Levels of a unit of a part of a row, x [inputs]: as many as neither its largest nor its norm forbids. */
static float levels_per_unit(const Strassen *matrix, const float *x) {
  Floats squares = {0}, lows = {0}, highs = {0};
  for (int32_t c = 0; c < matrix->inputs; c += LANES) {
    const Floats value = load(x + c);
    squares += value * value;
    lows = least(value, lows), highs = most(value, highs);
  }
  float lanes[LANES], peak = 1e-30f;
  store(lanes, squares);
  for (int lane = 0; lane < LANES; ++lane) {
    peak = highs[lane] > peak ? highs[lane] : peak;
    peak = -lows[lane] > peak ? -lows[lane] : peak;
  }
  const float by_peak = STRASSEN_LEVEL / peak, by_norm = matrix->norm / sqrtf(total(lanes) + 1e-30f);
  return by_peak < by_norm ? by_peak : by_norm;
}

/* Part of two rows [inputs] of one pair to the sums that the seven products read. */
static void quantise_pair(const Strassen *matrix, const float *first, const float *second, int32_t part, int32_t pair,
                          Pairs *to) {
  const int32_t inputs = matrix->inputs, half = inputs / 2;
  const float one = levels_per_unit(matrix, first), other = levels_per_unit(matrix, second);
  to->scale[part][pair][0] = 1.0f / one, to->scale[part][pair][1] = 1.0f / other;
  int16_t *at = to->levels + ((int64_t)part * STRASSEN_PAIRS + pair) * STRASSEN_PRODUCTS * half;
  for (int32_t c = 0; c < half; c += LANES, at += LANES) {
    const Ints a11 = whole(load(first + c) * one), a12 = whole(load(first + half + c) * one);
    const Ints a21 = whole(load(second + c) * other), a22 = whole(load(second + half + c) * other);
    const Ints s1 = a21 + a22, s2 = s1 - a11;
    narrow(a11, at), narrow(a12, at + half), narrow(s2, at + 2 * half), narrow(a11 - a21, at + 3 * half);
    narrow(a22, at + 4 * half), narrow(s1, at + 5 * half), narrow(a12 - s2, at + 6 * half);
  }
}

static const int32_t NOTHING[MATRIX_ROWS][BLOCK_COLUMNS];

/* y += x, of a block; overflow is defined. */
INLINE void add_levels(int32_t y[MATRIX_ROWS][BLOCK_COLUMNS], int32_t x[MATRIX_ROWS][BLOCK_COLUMNS]) {
  for (int row = 0; row < MATRIX_ROWS; ++row)
    for (int c = 0; c < BLOCK_COLUMNS; ++c) y[row][c] = (int32_t)((uint32_t)y[row][c] + (uint32_t)x[row][c]);
}

/* c = the exact sums of part `part` for `rows` pairs from `pair` on and the block of columns from `column` on. */
static void strassen_sums(const Strassen *matrix, const Pairs *x, int32_t part, int32_t pair, int32_t rows,
                          int32_t column, Quarters c) {
  const int32_t half = matrix->inputs / 2, left = matrix->outputs / 2 - column;
  const int64_t size = (int64_t)half * MATRIX_COLUMNS; /* of a panel of one product */
  const int64_t whole_panel = size * STRASSEN_PRODUCTS * matrix->parts, next = left < BLOCK_COLUMNS ? 0 : whole_panel;
  const int16_t *panel =
      matrix->levels + column / MATRIX_COLUMNS * whole_panel + (int64_t)part * STRASSEN_PRODUCTS * size;
  int32_t more[MATRIX_ROWS][BLOCK_COLUMNS] __attribute__((aligned(64)));
  const int16_t *from[STRASSEN_PRODUCTS][MATRIX_ROWS];
  for (int row = 0; row < MATRIX_ROWS; ++row) {
    const int32_t at = pair + (row < rows ? row : rows - 1);
    for (int product = 0; product < STRASSEN_PRODUCTS; ++product)
      from[product][row] = x->levels + (((int64_t)part * STRASSEN_PAIRS + at) * STRASSEN_PRODUCTS + product) * half;
  }
  more_block(panel, next, from[0], rows, half, NOTHING, more);               /* A11 B11 */
  more_block(panel + size, next, from[1], rows, half, more, c[0][0]);        /* + A12 B21 */
  more_block(panel + 2 * size, next, from[2], rows, half, more, c[0][1]);    /* A11 B11 + S2 T2 */
  more_block(panel + 3 * size, next, from[3], rows, half, c[0][1], c[1][1]); /* + S3 T3 */
  more_block(panel + 4 * size, next, from[4], rows, half, c[1][1], c[1][0]); /* - A22 T4 */
  more_block(panel + 5 * size, next, from[5], rows, half, NOTHING, more);    /* S1 T1 */
  add_levels(c[1][1], more), add_levels(c[0][1], more);
  more_block(panel + 6 * size, next, from[6], rows, half, c[0][1], c[0][1]); /* + S4 B22 */
}

/* LANES sums from `at` on, times scale. */
INLINE Floats scaled(const int32_t *at, float scale) {
  Ints sums;
  memcpy(&sums, at, sizeof sums);
  return __builtin_convertvector(sums, Floats) * splat(scale);
}

/* y [rows][outputs] = matrix x + bias (+ plus [rows][outputs], which may be y, unless it is null). */
static void strassen(const Strassen *matrix, const Pairs *x, int32_t rows, const float *plus, float *y) {
  float totals[STRASSEN_PAIRS][2][2][BLOCK_COLUMNS] __attribute__((aligned(64))); /* of the parts before */
  Quarters c __attribute__((aligned(64)));
  const int32_t outputs = matrix->outputs, half = outputs / 2, parts = matrix->parts, pairs = (rows + 1) / 2;
  for (int32_t column = 0; column < half; column += BLOCK_COLUMNS) {
    const int32_t columns = half - column < BLOCK_COLUMNS ? half - column : BLOCK_COLUMNS;
    for (int32_t part = 0; part < parts; ++part)
      for (int32_t pair = 0; pair < pairs; pair += MATRIX_ROWS) {
        const int32_t here = pairs - pair < MATRIX_ROWS ? pairs - pair : MATRIX_ROWS;
        strassen_sums(matrix, x, part, pair, here, column, c);
        for (int32_t row = 2 * pair; row < 2 * (pair + here) && row < rows; ++row)
          for (int side = 0; side < 2; ++side) {
            const int64_t at = (int64_t)row * outputs + side * half + column;
            const int32_t *sums = c[row % 2][side][row / 2 - pair];
            const float *scale = matrix->scale + side * half + column, *bias = matrix->bias + side * half + column;
            float *total = totals[row / 2][row % 2][side];
            for (int32_t i = 0; i < columns; i += LANES) {
              Floats value = scaled(sums + i, x->scale[part][row / 2][row % 2]);
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
