/* Products of matrices and rows in 16-bit integers. */
#pragma once

#include "numbers.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

enum {
  ROWS = 6,     /* rows of a product held in registers, */
  COLUMNS = 16, /* by columns */
  UNROLL = 4,   /* pairs of inputs that a turn of the innermost loop takes */
};

/* A matrix as Matrix in matrix.py lays it out. `outputs` is a multiple of COLUMNS, `inputs` of 2 * UNROLL. Its inputs
 * come in `parts` of `inputs` each; a part is summed exactly, the parts in float32. */
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

#ifdef __AVX2__
/* A loop that a compiler spills sums in, whatever it is told: written out, UNROLL steps at a time. ymm0 to ymm11 hold
 * the sums, 12 and 13 the panel's step, 14 a pair of a row, 15 a product. */
#define PAIR(row, low, high, at)                                                                                       \
  "vpbroadcastd " #at "(%[" #row "],%[k]), %%ymm14\n\tvpmaddwd %%ymm12, %%ymm14, %%ymm15\n\t"                          \
  "vpaddd %%ymm15, %%ymm" #low ", %%ymm" #low "\n\tvpmaddwd %%ymm13, %%ymm14, %%ymm14\n\t"                             \
  "vpaddd %%ymm14, %%ymm" #high ", %%ymm" #high "\n\t"
#define STEP(at, left, right, ahead)                                                                                   \
  "vmovdqu " #left "(%[panel]), %%ymm12\n\tvmovdqu " #right "(%[panel]), %%ymm13\n\t"                                  \
  "prefetcht0 " #ahead "(%[panel])\n\t" PAIR(row0, 0, 1, at) PAIR(row1, 2, 3, at) PAIR(row2, 4, 5, at)                 \
      PAIR(row3, 6, 7, at) PAIR(row4, 8, 9, at) PAIR(row5, 10, 11, at)
#define CLEAR(sum) "vpxor %%ymm" #sum ", %%ymm" #sum ", %%ymm" #sum "\n\t"
#define STORE(sum, at) "vcvtdq2ps %%ymm" #sum ", %%ymm" #sum "\n\tvmovups %%ymm" #sum ", " #at "(%[sums])\n\t"
#endif

/* sums = ROWS by COLUMNS of one part: exact, then rounded to float32. inputs is a multiple of 2 * UNROLL. */
static inline __attribute__((always_inline)) void part_sums(const int16_t *panel, const int16_t *const from[ROWS],
                                                            int32_t inputs, Floats sums[ROWS][2]) {
#ifdef __AVX2__
  int64_t k = -2 * (int64_t)inputs; /* bytes to the end of the rows */
  const char *at = (const char *)panel + 128;
  __asm__ volatile(
      CLEAR(0) CLEAR(1) CLEAR(2) CLEAR(3) CLEAR(4) CLEAR(5) CLEAR(6) CLEAR(7) CLEAR(8) CLEAR(9) CLEAR(10) CLEAR(11)
      ".p2align 6\n1:\n\t"
      STEP(0, -128, -96, 3968) STEP(4, -64, -32, 4032) STEP(8, 0, 32, 4096) STEP(12, 64, 96, 4160)
      "add $256, %[panel]\n\tadd $16, %[k]\n\tjne 1b\n\t"
      STORE(0, 0) STORE(1, 32) STORE(2, 64) STORE(3, 96) STORE(4, 128) STORE(5, 160) STORE(6, 192) STORE(7, 224)
      STORE(8, 256) STORE(9, 288) STORE(10, 320) STORE(11, 352)
      : [panel] "+r"(at), [k] "+r"(k)
      : [row0] "r"(from[0] + inputs), [row1] "r"(from[1] + inputs), [row2] "r"(from[2] + inputs),
        [row3] "r"(from[3] + inputs), [row4] "r"(from[4] + inputs), [row5] "r"(from[5] + inputs), [sums] "r"(sums)
      : "cc", "memory", "ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6", "ymm7", "ymm8", "ymm9", "ymm10",
        "ymm11", "ymm12", "ymm13", "ymm14", "ymm15");
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
