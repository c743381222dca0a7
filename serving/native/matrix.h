/* Products of matrices and rows in 16-bit integers. */
#pragma once

#include "numbers.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

enum {
  ROWS = 6,     /* rows of a product held in registers, */
  COLUMNS = 16, /* by columns */
  AHEAD = 2048, /* steps of a panel fetched before they are used */
};

/* A matrix as Matrix in matrix.py lays it out. `outputs` is a multiple of COLUMNS, `inputs` even. Its inputs come in
 * `parts` of `inputs` each; a part is summed exactly, the parts in float32. */
typedef struct {
  const int16_t *steps; /* [outputs / COLUMNS][parts][inputs / 2][COLUMNS][2] */
  const float *scale;   /* [outputs] */
  const float *bias;    /* [outputs] */
  int32_t inputs, outputs, parts;
  float limit;          /* largest step of an input that cannot overflow a sum */
} Matrix;

typedef int32_t Words __attribute__((vector_size(4 * LANES)));
typedef float Floats __attribute__((vector_size(4 * LANES)));

/* One row to steps within +-limit; returns what a step is worth. */
static float quantise(const float *x, int32_t channels, int32_t inputs, float limit, int16_t *steps) {
  /* Sizes compare as the integers that their bits spell. */
  Words sizes[2] = {{0}, {0}};
  const int32_t even = channels - channels % (2 * LANES);
  for (int32_t c = 0; c < even; c += 2 * LANES)
    for (int half = 0; half < 2; ++half) {
      Words size;
      memcpy(&size, x + c + half * LANES, sizeof size);
      size &= 0x7fffffff;
      const Words larger = size > sizes[half];
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
  for (int32_t c = 0; c < channels; ++c) steps[c] = (int16_t)(int32_t)rintf(x[c] * per_unit);
  for (int32_t c = channels; c < inputs; ++c) steps[c] = 0;
  return peak / limit;
}

/* Rows of steps as a product reads them: part p of row r is at steps + r * row_stride + p * part_stride, its steps are
 * worth[r + p * part_worth] each. Rows that overlap make a convolution. */
typedef struct {
  const int16_t *steps;
  const float *worth;
  int64_t row_stride, part_stride;
  int32_t part_worth;
} Rows;

/* sums = ROWS by COLUMNS of one part: exact, then rounded to float32. */
static inline __attribute__((always_inline)) void part_sums(const int16_t *panel, const int16_t *const from[ROWS],
                                                            int32_t inputs, Floats sums[ROWS][2]) {
#ifdef __AVX2__
  __m256i total[ROWS][2];
  for (int row = 0; row < ROWS; ++row) total[row][0] = total[row][1] = _mm256_setzero_si256();
  for (int32_t k = 0; k < inputs; k += 2, panel += 2 * COLUMNS) {
    const __m256i left = _mm256_loadu_si256((const __m256i *)panel);
    const __m256i right = _mm256_loadu_si256((const __m256i *)(panel + COLUMNS));
    _mm_prefetch((const char *)(panel + AHEAD), _MM_HINT_T0);
#pragma GCC unroll 6
    for (int row = 0; row < ROWS; ++row) {
      /* Compilers want a 17th register here and spill a sum in the innermost loop. */
      __m256i pair, product;
      __asm__("vpbroadcastd %4, %2\n\tvpmaddwd %5, %2, %3\n\tvpaddd %3, %0, %0\n\t"
              "vpmaddwd %6, %2, %2\n\tvpaddd %2, %1, %1"
              : "+x"(total[row][0]), "+x"(total[row][1]), "=&x"(pair), "=&x"(product)
              : "m"(*(const int32_t *)(from[row] + k)), "x"(left), "x"(right));
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < ROWS; ++row)
    for (int half = 0; half < 2; ++half) sums[row][half] = (Floats)_mm256_cvtepi32_ps(total[row][half]);
#else
  int32_t total[ROWS][COLUMNS] = {{0}};
  for (int32_t k = 0; k < inputs; k += 2, panel += 2 * COLUMNS)
    for (int row = 0; row < ROWS; ++row)
      for (int c = 0; c < COLUMNS; ++c)
        total[row][c] += from[row][k] * panel[2 * c] + from[row][k + 1] * panel[2 * c + 1];
  for (int row = 0; row < ROWS; ++row)
    for (int c = 0; c < COLUMNS; ++c) sums[row][c / LANES][c % LANES] = (float)total[row][c];
#endif
}

/* y[r][c] = (gelu of) matrix x + bias, for the first `rows` of x, at most ROWS of them, and COLUMNS columns. */
static inline __attribute__((always_inline)) void panel_product(const Matrix *matrix, int32_t parts, int32_t column,
                                                                const Rows *x, int32_t first, int32_t rows, int gelu,
                                                                float *y, int32_t stride) {
  const int16_t *panel = matrix->steps + (int64_t)column * matrix->inputs * parts;
  Floats totals[ROWS][2], sums[ROWS][2];
  for (int32_t part = 0; part < parts; ++part, panel += (int64_t)matrix->inputs * COLUMNS) {
    const int16_t *from[ROWS];
    for (int row = 0; row < ROWS; ++row)
      from[row] = x->steps + (first + (row < rows ? row : rows - 1)) * x->row_stride + part * x->part_stride;
    part_sums(panel, from, matrix->inputs, sums);
#pragma GCC unroll 6
    for (int row = 0; row < ROWS; ++row) {
      const float worth = x->worth[first + (row < rows ? row : rows - 1) + part * x->part_worth];
      for (int half = 0; half < 2; ++half)
        totals[row][half] = part ? totals[row][half] + sums[row][half] * worth : sums[row][half] * worth;
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < ROWS; ++row) {
    if (row >= rows) break;
    float total[COLUMNS], *to = y + (int64_t)row * stride;
    memcpy(total, totals[row], sizeof total);
    for (int c = 0; c < COLUMNS; ++c) {
      const float value = total[c] * matrix->scale[column + c] + matrix->bias[column + c];
      to[c] = gelu ? gelu_of(value) : value;
    }
  }
}

/* y[r][0..outputs) = matrix x + bias for r in 0..rows, y's rows `stride` apart. */
static inline void multiply_rows(const Matrix *matrix, const Rows *x, int32_t rows, float *y, int32_t stride) {
  for (int32_t column = 0; column < matrix->outputs; column += COLUMNS)
    for (int32_t first = 0; first < rows; first += ROWS)
      panel_product(matrix, matrix->parts, column, x, first, rows - first < ROWS ? rows - first : ROWS, 0,
                    y + (int64_t)first * stride + column, stride);
}

/* y[row][0..outputs) = (gelu of) matrix x + bias, for rows already in steps and a matrix of one part. */
static inline __attribute__((always_inline)) void multiply(const Matrix *matrix, const int16_t *steps,
                                                           const float *worth, int32_t rows, float *y, int gelu) {
  const Rows x = {steps, worth, matrix->inputs, 0, 0};
  for (int32_t column = 0; column < matrix->outputs; column += COLUMNS)
    for (int32_t first = 0; first < rows; first += ROWS)
      panel_product(matrix, 1, column, &x, first, rows - first < ROWS ? rows - first : ROWS, gelu,
                    y + (int64_t)first * matrix->outputs + column, matrix->outputs);
}
