/* Products of matrices and few rows, bound by reading the weights: a panel is read once for up to MATRIX_ROWS rows, in
 * FEW_STREAMS streams at once, which memory serves faster than one. Any count of rows gives a row the same bits: its
 * parts are summed exactly, then in order. */
#pragma once

#include "matrix.h"

enum { FEW_STREAMS = 4 };

typedef enum { FINISH_STORE, FINISH_ADD, FINISH_GELU } Finish;

/* Where the outputs of a product go, and how: y[r * stride + c] = value, += value, or = gelu(value). */
typedef struct {
  float *y;
  int32_t stride;
  Finish finish;
} Output;

/* A Matrix whose levels are laid out [FEW_STREAMS][outputs / MATRIX_COLUMNS][parts][inputs / 2 /
 * FEW_STREAMS][MATRIX_COLUMNS][2]: a pair of inputs i of a part lies in stream i % FEW_STREAMS. They are int8 if there
 * is a scale for each part, else int16. */
typedef struct {
  Matrix matrix;
  const float *part_scale; /* [outputs / MATRIX_COLUMNS][parts][MATRIX_COLUMNS], or null */
} Weights;

/* x times the normal distribution function, by its tanh approximation. */
static inline float gelu_tanh_of(float x) {
  const float inner = 1.59576912f * (x + 0.044715f * x * x * x);
  return x / (1.0f + exp_of(-inner));
}

/* sums = `rows` <= MATRIX_ROWS rows by MATRIX_COLUMNS of one part: exact, then rounded to float32. `size` is the bytes
 * of a level, `stride` those of a stream. */
INLINE void few_sums(const int rows, const int size, const char *panel, int64_t stride, const int16_t *const *from,
                     int32_t inputs, Floats (*sums)[2]) {
#ifdef __AVX2__
  __m256i total[MATRIX_ROWS][2];
#pragma GCC unroll 6
  for (int row = 0; row < rows; ++row) total[row][0] = total[row][1] = _mm256_setzero_si256();
  for (int32_t k = 0; k < inputs; k += 2 * FEW_STREAMS, panel += 2 * MATRIX_COLUMNS * size)
#pragma GCC unroll 4
    for (int stream = 0; stream < FEW_STREAMS; ++stream) {
      const char *at = panel + stream * stride;
      __m256i left, right;
      if (size == 1) {
        left = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)at));
        right = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(at + MATRIX_COLUMNS)));
      } else {
        left = _mm256_loadu_si256((const __m256i *)at);
        right = _mm256_loadu_si256((const __m256i *)(at + 2 * MATRIX_COLUMNS));
      }
#pragma GCC unroll 6
      for (int row = 0; row < rows; ++row) {
        /* Left to themselves, compilers spill a sum where there are six rows. */
        __m256i pair, product;
        __asm__(
            "vpbroadcastd %4, %2\n\tvpmaddwd %5, %2, %3\n\tvpaddd %3, %0, %0\n\t"
            "vpmaddwd %6, %2, %2\n\tvpaddd %2, %1, %1"
            : "+x"(total[row][0]), "+x"(total[row][1]), "=&x"(pair), "=&x"(product)
            : "m"(*(const int32_t *)(from[row] + k + 2 * stream)), "x"(left), "x"(right));
      }
    }
#pragma GCC unroll 6
  for (int row = 0; row < rows; ++row)
    for (int half = 0; half < 2; ++half) sums[row][half] = (Floats)_mm256_cvtepi32_ps(total[row][half]);
#else
  int32_t total[MATRIX_ROWS][MATRIX_COLUMNS] = {{0}};
  for (int32_t k = 0; k < inputs; k += 2 * FEW_STREAMS, panel += 2 * MATRIX_COLUMNS * size)
    for (int stream = 0; stream < FEW_STREAMS; ++stream)
      for (int row = 0; row < rows; ++row)
        for (int i = 0; i < 2 * MATRIX_COLUMNS; ++i) {
          const char *at = panel + stream * stride + i * size;
          const int32_t weight = size == 1 ? *(const int8_t *)at : *(const int16_t *)at;
          total[row][i / 2] += from[row][k + 2 * stream + i % 2] * weight;
        }
  for (int row = 0; row < rows; ++row)
    for (int c = 0; c < MATRIX_COLUMNS; ++c) sums[row][c / LANES][c % LANES] = (float)total[row][c];
#endif
}

/* Columns column..column + MATRIX_COLUMNS of `rows` rows of x from `first`, into the same rows of the output. */
INLINE void few_panel(const int rows, const int size, const Weights *weights, int32_t column, const Rows *x,
                      int32_t first, const Output *output) {
  const Matrix *matrix = &weights->matrix;
  const int32_t inputs = matrix->inputs, parts = matrix->parts;
  const int64_t stride = (int64_t)matrix->outputs * parts * inputs / FEW_STREAMS * size;
  const char *panel = (const char *)matrix->levels + (int64_t)column * parts * inputs / FEW_STREAMS * size;
  Floats totals[MATRIX_ROWS][2] = {{{0}}}, sums[MATRIX_ROWS][2];
  for (int32_t part = 0; part < parts; ++part, panel += inputs * MATRIX_COLUMNS / FEW_STREAMS * size) {
    const int16_t *from[MATRIX_ROWS];
    for (int row = 0; row < rows; ++row) from[row] = x->levels + (first + row) * x->row_stride + part * x->part_stride;
    few_sums(rows, size, panel, stride, from, inputs, sums);
    Floats scale[2];
    if (size == 1) memcpy(scale, weights->part_scale + (int64_t)column * parts + part * MATRIX_COLUMNS, sizeof scale);
#pragma GCC unroll 6
    for (int row = 0; row < rows; ++row) {
      const float row_scale = x->scale[first + row + part * x->scale_stride];
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half)
        totals[row][half] += size == 1 ? sums[row][half] * row_scale * scale[half] : sums[row][half] * row_scale;
    }
  }
  for (int row = 0; row < rows; ++row) {
    float total[MATRIX_COLUMNS], *to = output->y + (int64_t)(first + row) * output->stride + column;
    memcpy(total, totals[row], sizeof total);
    for (int c = 0; c < MATRIX_COLUMNS; ++c) total[c] = total[c] * matrix->scale[column + c] + matrix->bias[column + c];
    if (output->finish == FINISH_GELU)
      for (int c = 0; c < MATRIX_COLUMNS; ++c) to[c] = gelu_tanh_of(total[c]);
    else if (output->finish == FINISH_ADD)
      for (int c = 0; c < MATRIX_COLUMNS; ++c) to[c] += total[c];
    else
      memcpy(to, total, sizeof total);
  }
}

INLINE void few_panels(const int size, const Weights *weights, int32_t column, const Rows *x, int32_t rows,
                       const Output *output) {
  for (int32_t first = 0; first < rows; first += MATRIX_ROWS) switch (rows - first) {
      case 1: few_panel(1, size, weights, column, x, first, output); break;
      case 2: few_panel(2, size, weights, column, x, first, output); break;
      case 3: few_panel(3, size, weights, column, x, first, output); break;
      case 4: few_panel(4, size, weights, column, x, first, output); break;
      case 5: few_panel(5, size, weights, column, x, first, output); break;
      default: few_panel(MATRIX_ROWS, size, weights, column, x, first, output);
    }
}

/* Columns first..last of weights x + bias for rows 0..rows of x, to the same rows and columns of the output; first and
 * last are multiples of MATRIX_COLUMNS. */
static void few_rows(const Weights *weights, const Rows *x, int32_t rows, int32_t first, int32_t last,
                     const Output *output) {
  for (int32_t column = first; column < last; column += MATRIX_COLUMNS)
    if (weights->part_scale)
      few_panels(1, weights, column, x, rows, output);
    else
      few_panels(2, weights, column, x, rows, output);
}
