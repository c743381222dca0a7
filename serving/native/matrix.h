/* Products of matrices and rows in integers of 16 bits, or of 8. */
#pragma once

#include "numbers.h"
#include "sums.h"
#include "tiles.h"

enum { MATRIX_TILED = 1024 /* most inputs of a tiled matrix */ };

/* A matrix as Matrix in matrix.py lays it out. `outputs` is a multiple of MATRIX_COLUMNS, `inputs` of
 * 2 * MATRIX_UNROLL. Its inputs come in `parts` of `inputs` each; a part is summed exactly, the parts in float32. */
typedef struct {
  const void *levels; /* int16 [outputs / MATRIX_COLUMNS][parts][inputs / 2][MATRIX_COLUMNS][2], or int8 [outputs /
                         MATRIX_COLUMNS][inputs / 4][MATRIX_COLUMNS][4] */
  const float *scale; /* [outputs] */
  const float *bias;  /* [outputs] */
  int32_t inputs, outputs, parts;
  float limit;               /* of 16 bits: largest level of an input that cannot overflow a sum */
  const int32_t *level_sums; /* of 8 bits, in one part: [outputs], the sum of an output's levels; else null */
  int32_t tiled; /* whether panels are tiles (tiles.h), those of 16 bits of high and low bytes in turn; in one part */
} Matrix;

/* One row to levels within +-limit; returns the scale of a level. */
static float quantise(const float *x, int32_t channels, int32_t inputs, float limit, int16_t *levels) {
  /* Sizes compare as the integers that their bits spell. */
  Ints sizes[2] = {{0}, {0}};
  const int32_t even = channels - channels % (2 * LANES);
  for (int32_t c = 0; c < even; c += 2 * LANES)
    for (int half = 0; half < 2; ++half) {
      Ints size;
      memcpy(&size, x + c + half * LANES, sizeof size);
      size &= 0x7fffffff;
      const Ints larger = size > sizes[half];
      sizes[half] = (size & larger) | (sizes[half] & ~larger);
    }
  float peak = 1e-30f;
  for (int32_t c = even; c < channels; ++c) peak = fabsf(x[c]) > peak ? fabsf(x[c]) : peak;
  for (int lane = 0; lane < 2 * LANES; ++lane) {
    float size;
    memcpy(&size, (const char *)sizes + sizeof size * (size_t)lane, sizeof size);
    peak = size > peak ? size : peak;
  }
  const float per_unit = limit / peak;
  for (int32_t c = 0; c < channels; ++c) levels[c] = (int16_t)(int32_t)rintf(x[c] * per_unit);
  for (int32_t c = channels; c < inputs; ++c) levels[c] = 0;
  return peak / limit;
}

/* One row to levels of 0..255, where `zero` stands for 0; returns the scale of a level. */
static float quantise_bytes(const float *x, int32_t channels, int32_t inputs, uint8_t *levels, int32_t *zero) {
  Floats lows = {0}, highs = {0};
  const int32_t even = channels - channels % LANES;
  for (int32_t c = 0; c < even; c += LANES) {
    const Floats values = load(x + c);
    lows = least(values, lows), highs = most(values, highs);
  }
  float low = 0, high = 1e-30f;
  for (int lane = 0; lane < LANES; ++lane) {
    low = lows[lane] < low ? lows[lane] : low;
    high = highs[lane] > high ? highs[lane] : high;
  }
  for (int32_t c = even; c < channels; ++c) low = x[c] < low ? x[c] : low, high = x[c] > high ? x[c] : high;
  const float per_unit = 255.0f / (high - low), from = rintf(-low * per_unit);
  for (int32_t c = 0; c < channels; ++c) {
    const float level = rintf(x[c] * per_unit) + from; /* both ends may be rounded up */
    levels[c] = (uint8_t)(int32_t)(level < 255.0f ? level : 255.0f);
  }
  for (int32_t c = channels; c < inputs; ++c) levels[c] = 0;
  *zero = (int32_t)from;
  return (high - low) / 255.0f;
}

/* Rows in the levels of a matrix of one part: [rows][inputs] of int16, or of uint8; of a tiled matrix, room for a
 * multiple of TILE_ROWS rows, those of 16 bits as tile_level_sums reads them. */
typedef struct {
  void *levels;
  float *scale;  /* [rows] */
  int32_t *zero; /* [rows], of uint8: the level of 0 */
} Quantised;

/* Levels [inputs], at most MATRIX_TILED, to their high bytes, then their low ones. */
static void split_row(int16_t *levels, int32_t inputs) {
  uint8_t bytes[2 * MATRIX_TILED];
  for (int32_t c = 0; c < inputs; ++c) {
    bytes[c] = (uint8_t)(levels[c] >> 8);
    bytes[inputs + c] = (uint8_t)levels[c];
  }
  memcpy(levels, bytes, 2 * (size_t)inputs);
}

/* x [channels] to row `row` of the levels. */
INLINE void quantise_row(const Matrix *matrix, const float *x, int32_t channels, int32_t row, const Quantised *to) {
  const int64_t at = (int64_t)row * matrix->inputs;
  if (matrix->level_sums)
    to->scale[row] = quantise_bytes(x, channels, matrix->inputs, (uint8_t *)to->levels + at, to->zero + row);
  else
    to->scale[row] = quantise(x, channels, matrix->inputs, matrix->limit, (int16_t *)to->levels + at);
  if (matrix->tiled && !matrix->level_sums) split_row((int16_t *)to->levels + at, matrix->inputs);
}

/* Rows of 16-bit levels as a product reads them: part p of row r is at levels + r * row_stride + p * part_stride, their
 * scale is scale[r + p * scale_stride]. Rows that overlap make a convolution. */
typedef struct {
  const int16_t *levels;
  const float *scale;
  int64_t row_stride, part_stride;
  int32_t scale_stride;
} Rows;

/* y[r][c] = (gelu of) matrix x + bias, for the first `rows` of x, at most MATRIX_ROWS of them, and MATRIX_COLUMNS
 * columns. */
INLINE void panel_product(const Matrix *matrix, int32_t parts, int32_t column, const Rows *x, int32_t first,
                          int32_t rows, int gelu, float *y, int32_t stride) {
  const int16_t *panel = (const int16_t *)matrix->levels + (int64_t)column * matrix->inputs * parts;
  Floats totals[MATRIX_ROWS][2], sums[MATRIX_ROWS][2];
  for (int32_t part = 0; part < parts; ++part, panel += (int64_t)matrix->inputs * MATRIX_COLUMNS) {
    const int16_t *from[MATRIX_ROWS];
    for (int row = 0; row < MATRIX_ROWS; ++row)
      from[row] = x->levels + (first + (row < rows ? row : rows - 1)) * x->row_stride + part * x->part_stride;
    part_sums(panel, from, matrix->inputs, sums);
#pragma GCC unroll 6
    for (int row = 0; row < MATRIX_ROWS; ++row) {
      const float scale = x->scale[first + (row < rows ? row : rows - 1) + part * x->scale_stride];
      for (int half = 0; half < 2; ++half)
        totals[row][half] = part ? totals[row][half] + sums[row][half] * scale : sums[row][half] * scale;
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < MATRIX_ROWS; ++row) {
    if (row >= rows) break;
    float total[MATRIX_COLUMNS], *to = y + (int64_t)row * stride;
    memcpy(total, totals[row], sizeof total);
    for (int c = 0; c < MATRIX_COLUMNS; ++c) {
      const float value = total[c] * matrix->scale[column + c] + matrix->bias[column + c];
      to[c] = gelu ? gelu_of(value) : value;
    }
  }
}

/* y[r][0..outputs) = matrix x + bias for r in 0..rows, y's rows `stride` apart. */
static inline void multiply_rows(const Matrix *matrix, const Rows *x, int32_t rows, float *y, int32_t stride) {
  for (int32_t column = 0; column < matrix->outputs; column += MATRIX_COLUMNS)
    for (int32_t first = 0; first < rows; first += MATRIX_ROWS)
      panel_product(matrix, matrix->parts, column, x, first, rows - first < MATRIX_ROWS ? rows - first : MATRIX_ROWS, 0,
                    y + (int64_t)first * stride + column, stride);
}

/* As panel_product, of exact sums of bytes. */
INLINE void finish_bytes(const Matrix *matrix, int32_t column, const Quantised *x, int32_t first, int32_t rows,
                         int32_t sums[][MATRIX_COLUMNS], int gelu, float *y, int32_t stride) {
  for (int row = 0; row < rows; ++row, y += stride) {
    const float scale = x->scale[first + row];
    const int32_t zero = x->zero[first + row];
    for (int c = 0; c < MATRIX_COLUMNS; ++c) {
      const int32_t sum = sums[row][c] - zero * matrix->level_sums[column + c];
      const float value = (float)sum * scale * matrix->scale[column + c] + matrix->bias[column + c];
      y[c] = gelu ? gelu_of(value) : value;
    }
  }
}

/* As panel_product, for a matrix and rows in 8 bits. */
INLINE void byte_product(const Matrix *matrix, int32_t column, const Quantised *x, int32_t first, int32_t rows,
                         int gelu, float *y, int32_t stride) {
  const int8_t *panel = (const int8_t *)matrix->levels + (int64_t)column * matrix->inputs;
  const uint8_t *from[MATRIX_ROWS];
  int32_t sums[MATRIX_ROWS][MATRIX_COLUMNS];
  for (int row = 0; row < MATRIX_ROWS; ++row)
    from[row] = (const uint8_t *)x->levels + (int64_t)(first + (row < rows ? row : rows - 1)) * matrix->inputs;
  byte_sums(panel, from, matrix->inputs, sums);
  finish_bytes(matrix, column, x, first, rows, sums, gelu, y, stride);
}

#ifdef __AMX_INT8__
/* As multiply, for a tiled matrix. The thread must not be between begin_products and end_products already. */
INLINE void multiply_tiles(const Matrix *matrix, const Quantised *x, int32_t rows, float *y, int gelu) {
  enum { GROUPS = 3 };
  const int32_t inputs = matrix->inputs, outputs = matrix->outputs, at_once = GROUPS * TILE_ROWS;
  const int in_bytes = matrix->level_sums != 0;
  TileSums sums[GROUPS] __attribute__((aligned(64)));
  int32_t (*const by_row)[MATRIX_COLUMNS] = (int32_t (*)[MATRIX_COLUMNS])sums;
  begin_products();
  for (int32_t first = 0; first < rows; first += at_once) {
    const int32_t count = rows - first < at_once ? rows - first : at_once;
    const int32_t groups = (count + TILE_ROWS - 1) / TILE_ROWS;
    const uint8_t *from = (const uint8_t *)x->levels + (int64_t)first * inputs * (in_bytes ? 1 : 2);
    for (int32_t column = 0; column < outputs; column += MATRIX_COLUMNS) {
      float *to = y + (int64_t)first * outputs + column;
      const Bytes *panel =
          (const Bytes *)matrix->levels + column / TILE_ROWS * (inputs / TILE_BYTES) * (in_bytes ? 1 : 2);
      if (in_bytes) {
        tile_byte_sums(panel, from, groups, inputs, sums);
        finish_bytes(matrix, column, x, first, count, by_row, gelu, to, outputs);
        continue;
      }
      for (int32_t group = 0; group < groups; ++group)
        tile_level_sums(panel, (const int8_t *)from + (int64_t)group * TILE_ROWS * inputs * 2, inputs, sums[group]);
      for (int32_t row = 0; row < count; ++row, to += outputs)
        for (int c = 0; c < MATRIX_COLUMNS; ++c) {
          const float total = (float)by_row[row][c] * x->scale[first + row];
          const float value = total * matrix->scale[column + c] + matrix->bias[column + c];
          to[c] = gelu ? gelu_of(value) : value;
        }
    }
  }
  end_products();
}
#endif

/* y[row][0..outputs) = (gelu of) matrix x + bias, for a matrix of one part. */
INLINE void multiply(const Matrix *matrix, const Quantised *x, int32_t rows, float *y, int gelu) {
#ifdef __AMX_INT8__
  if (matrix->tiled) {
    multiply_tiles(matrix, x, rows, y, gelu);
    return;
  }
#endif
  const Rows pairs = {x->levels, x->scale, matrix->inputs, 0, 0};
  for (int32_t column = 0; column < matrix->outputs; column += MATRIX_COLUMNS)
    for (int32_t first = 0; first < rows; first += MATRIX_ROWS) {
      const int32_t count = rows - first < MATRIX_ROWS ? rows - first : MATRIX_ROWS;
      float *to = y + (int64_t)first * matrix->outputs + column;
      if (matrix->level_sums)
        byte_product(matrix, column, x, first, count, gelu, to, matrix->outputs);
      else
        panel_product(matrix, 1, column, &pairs, first, count, gelu, to, matrix->outputs);
    }
}
