/* Products of matrices by seven products of their quarters instead of eight, after Strassen, in Winograd's form.
 *
 * Rows are taken in pairs, inputs and outputs in halves: with A the quarters of a pair of rows and B those of the
 * matrix, C = A B is made of seven products of sums of A's quarters and sums of B's. In integers this is exact: sums
 * run modulo 2^32, so that it does not matter how large what lies between grows, as long as the result fits. */
#pragma once

#include "levels.h"
#include "tiles.h"

enum {
  STRASSEN_PRODUCTS = 7,
  WIDE_PAIRS = WIDE_ROWS / 2,
  SUM_ROWS = 2 * MATRIX_ROWS,  /* rows of a block of sums, */
  SUM_COLUMNS = BLOCK_COLUMNS, /* and columns of either half of the outputs */
};

/* Levels of a matrix: int16 [outputs / 2 / MATRIX_COLUMNS][parts][STRASSEN_PRODUCTS][inputs / 4][MATRIX_COLUMNS][2].
 * Rows as a product reads them: row 2 p and row 2 p + 1 make pair p. */
typedef struct {
  int16_t *levels; /* [parts][WIDE_PAIRS][STRASSEN_PRODUCTS][inputs / 2] */
  float scale[WIDE_PARTS][WIDE_ROWS];
} WideRows;

/* int16_t of the levels of WIDE_ROWS rows of as many inputs, in all parts. */
static inline int64_t row_levels(int32_t inputs) { return (int64_t)WIDE_PAIRS * STRASSEN_PRODUCTS * inputs / 2; }

/* Sums of a block of columns for MATRIX_ROWS pairs: [row of the pair][half of the outputs][pair][column]. */
typedef int32_t Sums[2][2][MATRIX_ROWS][BLOCK_COLUMNS];

/* Those of row `row` of the block and half `half` of the outputs. */
INLINE const int32_t *sums_of(Sums sums, int32_t row, int half) { return sums[row % 2][half][row / 2]; }

/* to [LANES] = levels, which are within 16 bits. */
INLINE void narrow(Ints levels, int16_t *to) {
  typedef int16_t Shorts __attribute__((vector_size(2 * LANES)));
  const Shorts narrowed = __builtin_convertvector(levels, Shorts);
  memcpy(to, &narrowed, sizeof narrowed);
}

/* Part of two rows [inputs] of one pair to the sums that the seven products read. */
static void quantise_pair(const Wide *matrix, const float *first, const float *second, int32_t part, int32_t pair,
                          WideRows *to) {
  const int32_t inputs = matrix->inputs, half = inputs / 2;
  const float one = levels_per_unit(matrix, first), other = levels_per_unit(matrix, second);
  to->scale[part][2 * pair] = 1.0f / one, to->scale[part][2 * pair + 1] = 1.0f / other;
  int16_t *at = to->levels + ((int64_t)part * WIDE_PAIRS + pair) * STRASSEN_PRODUCTS * half;
  for (int32_t c = 0; c < half; c += LANES, at += LANES) {
    const Ints a11 = whole(load(first + c) * one), a12 = whole(load(first + half + c) * one);
    const Ints a21 = whole(load(second + c) * other), a22 = whole(load(second + half + c) * other);
    const Ints s1 = a21 + a22, s2 = s1 - a11;
    narrow(a11, at), narrow(a12, at + half), narrow(s2, at + 2 * half), narrow(a11 - a21, at + 3 * half);
    narrow(a22, at + 4 * half), narrow(s1, at + 5 * half), narrow(a12 - s2, at + 6 * half);
  }
}

/* after = before + the exact sums of the first `rows` rows, modulo 2^32, both [MATRIX_ROWS][BLOCK_COLUMNS] and maybe
 * the same; panels as of add_block. All MATRIX_ROWS pointers are valid. */
#ifdef __AVX512VNNI__
INLINE void more_rows(const int rows, const int16_t *panel, int64_t next, const int16_t *const from[MATRIX_ROWS],
                      int32_t inputs, const int32_t before[MATRIX_ROWS][BLOCK_COLUMNS],
                      int32_t after[MATRIX_ROWS][BLOCK_COLUMNS]) {
  __m512i left[MATRIX_ROWS], right[MATRIX_ROWS];
#pragma GCC unroll 6
  for (int row = 0; row < rows; ++row) {
    left[row] = _mm512_loadu_si512(before[row]);
    right[row] = _mm512_loadu_si512(before[row] + MATRIX_COLUMNS);
  }
  for (int32_t k = 0; k < inputs; k += 2, panel += 2 * MATRIX_COLUMNS) {
    const __m512i first = _mm512_loadu_si512(panel), second = _mm512_loadu_si512(panel + next);
    _mm_prefetch((const char *)panel + MATRIX_AHEAD, _MM_HINT_T1);
    _mm_prefetch((const char *)(panel + next) + MATRIX_AHEAD, _MM_HINT_T1);
#pragma GCC unroll 6
    for (int row = 0; row < rows; ++row) {
      int32_t pair;
      memcpy(&pair, from[row] + k, sizeof pair);
      const __m512i x = _mm512_set1_epi32(pair);
      left[row] = _mm512_dpwssd_epi32(left[row], first, x);
      right[row] = _mm512_dpwssd_epi32(right[row], second, x);
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < rows; ++row) {
    _mm512_storeu_si512(after[row], left[row]);
    _mm512_storeu_si512(after[row] + MATRIX_COLUMNS, right[row]);
  }
}

static __attribute__((noinline)) void more_block(const int16_t *panel, int64_t next,
                                                 const int16_t *const from[MATRIX_ROWS], int32_t rows, int32_t inputs,
                                                 const int32_t before[MATRIX_ROWS][BLOCK_COLUMNS],
                                                 int32_t after[MATRIX_ROWS][BLOCK_COLUMNS]) {
  switch (rows) {
    case 1: more_rows(1, panel, next, from, inputs, before, after); break;
    case 2: more_rows(2, panel, next, from, inputs, before, after); break;
    case 3: more_rows(3, panel, next, from, inputs, before, after); break;
    case 4: more_rows(4, panel, next, from, inputs, before, after); break;
    case 5: more_rows(5, panel, next, from, inputs, before, after); break;
    default: more_rows(MATRIX_ROWS, panel, next, from, inputs, before, after);
  }
}
#else
static __attribute__((noinline)) void more_block(const int16_t *panel, int64_t next,
                                                 const int16_t *const from[MATRIX_ROWS], int32_t rows, int32_t inputs,
                                                 const int32_t before[MATRIX_ROWS][BLOCK_COLUMNS],
                                                 int32_t after[MATRIX_ROWS][BLOCK_COLUMNS]) {
  (void)next, (void)rows;
  more_sums(panel, from, inputs, before, after);
}
#endif

static const int32_t NOTHING[MATRIX_ROWS][BLOCK_COLUMNS];

/* y += x, of a block; overflow is defined. */
INLINE void add_levels(int32_t y[MATRIX_ROWS][BLOCK_COLUMNS], int32_t x[MATRIX_ROWS][BLOCK_COLUMNS]) {
  for (int row = 0; row < MATRIX_ROWS; ++row)
    for (int c = 0; c < BLOCK_COLUMNS; ++c) y[row][c] = (int32_t)((uint32_t)y[row][c] + (uint32_t)x[row][c]);
}

/* c = the exact sums of part `part` for `count` rows from the even row `first` on, at most SUM_ROWS, and of the columns
 * from `column` on of either half of the outputs. */
static void wide_block(const Wide *matrix, const WideRows *x, int32_t part, int32_t first, int32_t count,
                       int32_t column, Sums c) {
  const int32_t pair = first / 2, rows = (count + 1) / 2;
  const int32_t half = matrix->inputs / 2, left = matrix->outputs / 2 - column;
  const int64_t size = (int64_t)half * MATRIX_COLUMNS; /* of a panel of one product */
  const int64_t whole_panel = size * STRASSEN_PRODUCTS * matrix->parts, next = left < BLOCK_COLUMNS ? 0 : whole_panel;
  const int16_t *panel = (const int16_t *)matrix->levels + column / MATRIX_COLUMNS * whole_panel +
                         (int64_t)part * STRASSEN_PRODUCTS * size;
  int32_t more[MATRIX_ROWS][BLOCK_COLUMNS] __attribute__((aligned(64)));
  const int16_t *from[STRASSEN_PRODUCTS][MATRIX_ROWS];
  for (int row = 0; row < MATRIX_ROWS; ++row) {
    const int32_t at = pair + (row < rows ? row : rows - 1);
    for (int product = 0; product < STRASSEN_PRODUCTS; ++product)
      from[product][row] = x->levels + (((int64_t)part * WIDE_PAIRS + at) * STRASSEN_PRODUCTS + product) * half;
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
