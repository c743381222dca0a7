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

/* A Matrix whose levels are laid out [FEW_STREAMS][outputs / MATRIX_COLUMNS][parts][inputs / 2 / FEW_STREAMS] in
 * pairs of inputs of MATRIX_COLUMNS outputs: pair i of a part lies in stream i % FEW_STREAMS. A pair of 8 bits is int8
 * [MATRIX_COLUMNS][2]. Of 12 bits two pairs lie together, int8 [2][MATRIX_COLUMNS][2] and uint8 [MATRIX_COLUMNS][2]: a
 * level is 16 times the former and four bits of the latter, the low ones for the first pair. Each part of an output has
 * a scale of its own. */
typedef struct {
  Matrix matrix;
  const float *part_scale; /* [outputs / MATRIX_COLUMNS][parts][MATRIX_COLUMNS] */
  int32_t bits;            /* 8 or 12 */
} Weights;

/* x times the normal distribution function, by its tanh approximation. */
static inline float gelu_tanh_of(float x) {
  const float inner = 1.59576912f * (x + 0.044715f * x * x * x);
  return x / (1.0f + exp_of(-inner));
}

/* Bytes of a pair of inputs of MATRIX_COLUMNS outputs. */
INLINE int pair_bytes(int bits) { return MATRIX_COLUMNS * 2 * bits / 8; }

/* Pairs of a stream that lie together. */
INLINE int pairs_of(int bits) { return bits == 12 ? 2 : 1; }

#if defined(__AVX512VNNI__)
/* The levels of the pairs that lie together at `at`. */
INLINE void unpack(int bits, const char *at, __m512i levels[2]) {
  levels[0] = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)at));
  if (bits == 8) return;
  const __m512i second = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(at + 32)));
  const __m512i low = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(at + 64)));
  levels[0] = _mm512_or_si512(_mm512_slli_epi16(levels[0], 4), _mm512_and_si512(low, _mm512_set1_epi16(15)));
  levels[1] = _mm512_or_si512(_mm512_slli_epi16(second, 4), _mm512_srli_epi16(low, 4));
}
#elif defined(__AVX2__)
/* The same, each pair's in two halves. */
INLINE void unpack(int bits, const char *at, __m256i levels[2][2]) {
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half, at += 16) {
    levels[0][half] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)at));
    if (bits == 8) continue;
    const __m256i second = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(at + 32)));
    const __m256i low = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(at + 64)));
    levels[0][half] =
        _mm256_or_si256(_mm256_slli_epi16(levels[0][half], 4), _mm256_and_si256(low, _mm256_set1_epi16(15)));
    levels[1][half] = _mm256_or_si256(_mm256_slli_epi16(second, 4), _mm256_srli_epi16(low, 4));
  }
}
#endif

/* sums = `rows` <= MATRIX_ROWS rows by MATRIX_COLUMNS of one part: exact, then rounded to float32. `stride` is the
 * bytes of a stream. */
INLINE void few_sums(const int rows, const int bits, const char *panel, int64_t stride, const int16_t *const *from,
                     int32_t inputs, Floats (*sums)[2]) {
  const int pairs = pairs_of(bits);
#if defined(__AVX512VNNI__)
  __m512i total[MATRIX_ROWS];
#pragma GCC unroll 6
  for (int row = 0; row < rows; ++row) total[row] = _mm512_setzero_si512();
  for (int32_t k = 0; k < inputs; k += 2 * FEW_STREAMS * pairs, panel += pairs * pair_bytes(bits))
#pragma GCC unroll 4
    for (int stream = 0; stream < FEW_STREAMS; ++stream) {
      __m512i levels[2];
      unpack(bits, panel + stream * stride, levels);
#pragma GCC unroll 2
      for (int pair = 0; pair < pairs; ++pair)
#pragma GCC unroll 6
        for (int row = 0; row < rows; ++row) {
          int32_t x;
          memcpy(&x, from[row] + k + 2 * (stream + FEW_STREAMS * pair), sizeof x);
          total[row] = _mm512_dpwssd_epi32(total[row], levels[pair], _mm512_set1_epi32(x));
        }
    }
#pragma GCC unroll 6
  for (int row = 0; row < rows; ++row) _mm512_storeu_ps((float *)sums[row], _mm512_cvtepi32_ps(total[row]));
#elif defined(__AVX2__)
  __m256i total[MATRIX_ROWS][2];
#pragma GCC unroll 6
  for (int row = 0; row < rows; ++row) total[row][0] = total[row][1] = _mm256_setzero_si256();
  for (int32_t k = 0; k < inputs; k += 2 * FEW_STREAMS * pairs, panel += pairs * pair_bytes(bits))
#pragma GCC unroll 4
    for (int stream = 0; stream < FEW_STREAMS; ++stream) {
      __m256i levels[2][2];
      unpack(bits, panel + stream * stride, levels);
#pragma GCC unroll 2
      for (int pair = 0; pair < pairs; ++pair)
#pragma GCC unroll 6
        for (int row = 0; row < rows; ++row) {
          /* Left to themselves, compilers spill a sum where there are six rows. */
          __m256i x, product;
          __asm__(
              "vpbroadcastd %4, %2\n\tvpmaddwd %5, %2, %3\n\tvpaddd %3, %0, %0\n\t"
              "vpmaddwd %6, %2, %2\n\tvpaddd %2, %1, %1"
              : "+x"(total[row][0]), "+x"(total[row][1]), "=&x"(x), "=&x"(product)
              : "m"(*(const int32_t *)(from[row] + k + 2 * (stream + FEW_STREAMS * pair))), "x"(levels[pair][0]),
                "x"(levels[pair][1]));
        }
    }
#pragma GCC unroll 6
  for (int row = 0; row < rows; ++row)
    for (int half = 0; half < 2; ++half) sums[row][half] = (Floats)_mm256_cvtepi32_ps(total[row][half]);
#else
  int32_t total[MATRIX_ROWS][MATRIX_COLUMNS] = {{0}};
  for (int32_t k = 0; k < inputs; k += 2 * FEW_STREAMS * pairs, panel += pairs * pair_bytes(bits))
    for (int stream = 0; stream < FEW_STREAMS; ++stream)
      for (int pair = 0; pair < pairs; ++pair)
        for (int i = 0; i < 2 * MATRIX_COLUMNS; ++i) {
          const char *at = panel + stream * stride;
          int32_t weight = ((const int8_t *)at)[pair * 2 * MATRIX_COLUMNS + i];
          if (bits == 12) weight = 16 * weight + (((const uint8_t *)at)[4 * MATRIX_COLUMNS + i] >> 4 * pair & 15);
          for (int row = 0; row < rows; ++row)
            total[row][i / 2] += from[row][k + 2 * (stream + FEW_STREAMS * pair) + i % 2] * weight;
        }
  for (int row = 0; row < rows; ++row)
    for (int c = 0; c < MATRIX_COLUMNS; ++c) sums[row][c / LANES][c % LANES] = (float)total[row][c];
#endif
}

/* Columns column..column + MATRIX_COLUMNS of `rows` rows of x from `first`, into the same rows of the output. */
INLINE void few_panel(const int rows, const int bits, const Weights *weights, int32_t column, const Rows *x,
                      int32_t first, const Output *output) {
  const Matrix *matrix = &weights->matrix;
  const int32_t inputs = matrix->inputs, parts = matrix->parts;
  const int64_t pair = pair_bytes(bits),
                stride = matrix->outputs / MATRIX_COLUMNS * parts * (inputs / 2 / FEW_STREAMS) * pair;
  const char *panel =
      (const char *)matrix->levels + column / MATRIX_COLUMNS * parts * (inputs / 2 / FEW_STREAMS) * pair;
  Floats totals[MATRIX_ROWS][2] = {{{0}}}, sums[MATRIX_ROWS][2];
  for (int32_t part = 0; part < parts; ++part, panel += inputs / 2 / FEW_STREAMS * pair) {
    const int16_t *from[MATRIX_ROWS];
    for (int row = 0; row < rows; ++row) from[row] = x->levels + (first + row) * x->row_stride + part * x->part_stride;
    few_sums(rows, bits, panel, stride, from, inputs, sums);
    Floats scale[2];
    memcpy(scale, weights->part_scale + (int64_t)column * parts + part * MATRIX_COLUMNS, sizeof scale);
#pragma GCC unroll 6
    for (int row = 0; row < rows; ++row) {
      const float row_scale = x->scale[first + row + part * x->scale_stride];
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) totals[row][half] += sums[row][half] * row_scale * scale[half];
    }
  }
  for (int row = 0; row < rows; ++row) {
    float total[MATRIX_COLUMNS], *to = output->y + (int64_t)(first + row) * output->stride + column;
    memcpy(total, totals[row], sizeof total);
    for (int c = 0; c < MATRIX_COLUMNS; ++c) total[c] += matrix->bias[column + c];
    if (output->finish == FINISH_GELU)
      for (int c = 0; c < MATRIX_COLUMNS; ++c) to[c] = gelu_tanh_of(total[c]);
    else if (output->finish == FINISH_ADD)
      for (int c = 0; c < MATRIX_COLUMNS; ++c) to[c] += total[c];
    else
      memcpy(to, total, sizeof total);
  }
}

INLINE void few_panels(const int bits, const Weights *weights, int32_t column, const Rows *x, int32_t rows,
                       const Output *output) {
  for (int32_t first = 0; first < rows; first += MATRIX_ROWS) switch (rows - first) {
      case 1: few_panel(1, bits, weights, column, x, first, output); break;
      case 2: few_panel(2, bits, weights, column, x, first, output); break;
      case 3: few_panel(3, bits, weights, column, x, first, output); break;
      case 4: few_panel(4, bits, weights, column, x, first, output); break;
      case 5: few_panel(5, bits, weights, column, x, first, output); break;
      default: few_panel(MATRIX_ROWS, bits, weights, column, x, first, output);
    }
}

/* Columns first..last of weights x + bias for rows 0..rows of x, to the same rows and columns of the output; first and
 * last are multiples of MATRIX_COLUMNS. */
static void few_rows(const Weights *weights, const Rows *x, int32_t rows, int32_t first, int32_t last,
                     const Output *output) {
  for (int32_t column = first; column < last; column += MATRIX_COLUMNS)
    if (weights->bits == 8)
      few_panels(8, weights, column, x, rows, output);
    else
      few_panels(12, weights, column, x, rows, output);
}
