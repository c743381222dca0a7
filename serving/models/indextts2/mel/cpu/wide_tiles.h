/* Products of matrices in tile registers (serving/native/tiles.h), exact as those of strassen.h. */
#pragma once

#include "levels.h"
#include "tiles.h"

enum {
  SUM_ROWS = TILE_ROWS,         /* rows of a block of sums, */
  SUM_COLUMNS = MATRIX_COLUMNS, /* and columns of either half of the outputs */
  /* Lines of the cache that each of WIDE_ROWS / TILE_ROWS blocks fetches of the four tiles of weights after its own. */
  FETCHED_LINES = (4 * TILE_ROWS * TILE_ROWS + WIDE_ROWS - 1) / WIDE_ROWS,
};

/* Levels of a matrix: [outputs / 2 / MATRIX_COLUMNS][parts][half of the outputs][inputs / TILE_BYTES][high, low] of
 * Bytes, inputs filled up to a multiple of TILE_BYTES. */
typedef struct {
  int16_t *levels; /* Bytes [parts][WIDE_ROWS / TILE_ROWS][inputs / TILE_BYTES][high, low]; filled up as above */
  float scale[WIDE_PARTS][WIDE_ROWS];
} WideRows;

/* Tiles of the inputs of a part. */
static inline int32_t tiles_of_inputs(int32_t inputs) { return (inputs + TILE_BYTES - 1) / TILE_BYTES; }

/* int16_t of the levels of WIDE_ROWS rows of as many inputs, in all parts. */
static inline int64_t row_levels(int32_t inputs) {
  return (int64_t)WIDE_ROWS * (tiles_of_inputs(inputs) + WIDE_PARTS - 1) * TILE_BYTES;
}

/* Sums of a block: [half of the outputs][row][column]. */
typedef TileSums Sums[2];

/* Those of row `row` of the block and half `half` of the outputs. */
INLINE const int32_t *sums_of(Sums sums, int32_t row, int half) { return sums[half][row]; }

/* Part of a row [inputs], `per_unit` levels a unit, to row `row`. */
static void keep_row(const float *x, int32_t inputs, float per_unit, int32_t row, Bytes *to) {
  typedef int8_t Narrow __attribute__((vector_size(LANES)));
  to += (int64_t)row / TILE_ROWS * tiles_of_inputs(inputs) * 2;
  row %= TILE_ROWS;
  for (int32_t c = 0; c < inputs; c += LANES) {
    const Ints level = whole(load(x + c) * per_unit);
    const Narrow high = __builtin_convertvector(level >> 8, Narrow), low = __builtin_convertvector(level, Narrow);
    Bytes *tile = to + c / TILE_BYTES * 2;
    memcpy(tile[0][row] + c % TILE_BYTES, &high, sizeof high);
    memcpy(tile[1][row] + c % TILE_BYTES, &low, sizeof low);
  }
  for (int32_t c = inputs; c % TILE_BYTES; c += LANES)
    for (int byte = 0; byte < 2; ++byte) memset(to[c / TILE_BYTES * 2 + byte][row] + c % TILE_BYTES, 0, LANES);
}

/* Part of two rows [inputs], rows 2 pair and 2 pair + 1. */
static void quantise_pair(const Wide *matrix, const float *first, const float *second, int32_t part, int32_t pair,
                          WideRows *to) {
  const float one = levels_per_unit(matrix, first), other = levels_per_unit(matrix, second);
  to->scale[part][2 * pair] = 1.0f / one, to->scale[part][2 * pair + 1] = 1.0f / other;
  Bytes *at = (Bytes *)to->levels + (int64_t)part * (WIDE_ROWS / TILE_ROWS) * tiles_of_inputs(matrix->inputs) * 2;
  keep_row(first, matrix->inputs, one, 2 * pair, at);
  keep_row(second, matrix->inputs, other, 2 * pair + 1, at);
}

/* c = the exact sums of a block of rows and two of columns, over `tiles` of their inputs each. A tile of rows, of which
 * there are more than the first cache holds, is loaded once for both. `next`: what is fetched meanwhile. */
static __attribute__((noinline)) void tile_sums(const Bytes *rows, const Bytes *left, const Bytes *right, int32_t tiles,
                                                const char *next, Sums c) {
  TileSums sums[6] __attribute__((aligned(64)));
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  for (int32_t tile = 0; tile < tiles; ++tile, rows += 2, left += 2, right += 2) {
    for (int32_t line = 0; line < FETCHED_LINES; ++line, next += TILE_BYTES) _mm_prefetch(next, _MM_HINT_T1);
    _tile_loadd(6, rows[0], TILE_BYTES);
    _tile_loadd(7, left[0], TILE_BYTES);
    _tile_dpbssd(0, 6, 7);
    _tile_loadd(7, right[0], TILE_BYTES);
    _tile_dpbssd(3, 6, 7);
    _tile_loadd(7, left[1], TILE_BYTES);
    _tile_dpbsud(1, 6, 7);
    _tile_loadd(7, right[1], TILE_BYTES);
    _tile_dpbsud(4, 6, 7);
    _tile_loadd(6, rows[1], TILE_BYTES);
    _tile_dpbuud(5, 6, 7);
    _tile_loadd(7, left[1], TILE_BYTES);
    _tile_dpbuud(2, 6, 7);
    _tile_loadd(7, left[0], TILE_BYTES);
    _tile_dpbusd(1, 6, 7);
    _tile_loadd(7, right[0], TILE_BYTES);
    _tile_dpbusd(4, 6, 7);
  }
  _tile_stored(0, sums[0], TILE_BYTES);
  _tile_stored(1, sums[1], TILE_BYTES);
  _tile_stored(2, sums[2], TILE_BYTES);
  _tile_stored(3, sums[3], TILE_BYTES);
  _tile_stored(4, sums[4], TILE_BYTES);
  _tile_stored(5, sums[5], TILE_BYTES);
  combine(sums[0], sums[1], sums[2], c[0]);
  combine(sums[3], sums[4], sums[5], c[1]);
}

/* c = the exact sums of part `part` for `count` rows from row `first` on, a multiple of SUM_ROWS, and of the columns
 * from `column` on of either half of the outputs. */
static void wide_block(const Wide *matrix, const WideRows *x, int32_t part, int32_t first, int32_t count,
                       int32_t column, Sums c) {
  const int32_t tiles = tiles_of_inputs(matrix->inputs);
  const int64_t rows = (int64_t)part * (WIDE_ROWS / TILE_ROWS) + first / TILE_ROWS;
  const int64_t columns = (int64_t)(column / MATRIX_COLUMNS) * matrix->parts + part;
  const Bytes *left = (const Bytes *)matrix->levels + columns * 2 * tiles * 2;
  (void)count;
  /* The blocks of rows share in fetching the next block of columns, which lies behind this one. */
  const int64_t fetched = (int64_t)first / TILE_ROWS * FETCHED_LINES * tiles * TILE_BYTES;
  const char *next = (const char *)(left + (int64_t)tiles * 4) + fetched;
  tile_sums((const Bytes *)x->levels + rows * tiles * 2, left, left + (int64_t)tiles * 2, tiles, next, c);
}
