/* The tile registers of AMX, in the tiers that have them: 16 rows by 16 columns of 64 products of bytes an instruction.
 *
 * A level of 16 bits is 256 times a signed byte, the high one, and an unsigned one, the low one. Four products of bytes
 * make one of levels, exactly: modulo 2^32 it does not matter how large what lies between grows. */
#pragma once

#include "vector.h"

enum {
  TILE_ROWS = 16,  /* rows of a tile of inputs, columns of a tile of weights */
  TILE_BYTES = 64, /* of a row: as many inputs of one row, or 4 of each of 16 columns */
};

#ifdef __AMX_INT8__
/* A tile of weights holds input 4 r + i of column c in byte 4 c + i of row r. */
typedef int8_t Bytes[TILE_ROWS][TILE_BYTES];
typedef int32_t TileSums[TILE_ROWS][TILE_ROWS];

/* A thread begins its products: all its tiles are whole. */
static inline void begin_products(void) {
  struct {
    uint8_t palette, start_row, unused[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } shapes = {.palette = 1};
  for (int tile = 0; tile < 8; ++tile) shapes.row_bytes[tile] = TILE_BYTES, shapes.rows[tile] = TILE_ROWS;
  _tile_loadconfig(&shapes);
}

/* It ends them: no switch of threads saves tiles any more. */
static inline void end_products(void) { _tile_release(); }

/* What four products of bytes make of levels: high, mixed and low sums, modulo 2^32. */
INLINE void combine(TileSums high, TileSums mixed, TileSums low, TileSums to) {
  for (int row = 0; row < TILE_ROWS; ++row) {
    const __m512i above =
        _mm512_add_epi32(_mm512_slli_epi32(_mm512_load_si512(high[row]), 8), _mm512_load_si512(mixed[row]));
    _mm512_storeu_si512(to[row], _mm512_add_epi32(_mm512_slli_epi32(above, 8), _mm512_load_si512(low[row])));
  }
}

/* to[g] = the exact sums of 16 rows of unsigned bytes, from row 16 g on, rows `inputs` bytes apart, and of 16 columns;
 * at most three groups. inputs is a multiple of TILE_BYTES. */
static __attribute__((noinline)) void tile_byte_sums(const Bytes *columns, const uint8_t *rows, int32_t groups,
                                                     int32_t inputs, TileSums to[3]) {
  const int64_t next = (int64_t)TILE_ROWS * inputs;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  for (int32_t k = 0; k < inputs; k += TILE_BYTES, ++columns) {
    const uint8_t *const at = rows + k;
    _tile_loadd(6, columns, TILE_BYTES);
    _tile_loadd(3, at, inputs);
    _tile_dpbusd(0, 3, 6);
    if (groups < 2) continue;
    _tile_loadd(4, at + next, inputs);
    _tile_dpbusd(1, 4, 6);
    if (groups < 3) continue;
    _tile_loadd(5, at + 2 * next, inputs);
    _tile_dpbusd(2, 5, 6);
  }
  _tile_stored(0, to[0], TILE_BYTES);
  _tile_stored(1, to[1], TILE_BYTES);
  _tile_stored(2, to[2], TILE_BYTES);
}

/* to = the exact sums of 16 rows of levels and 16 columns. A row is its high bytes [inputs], then its low ones; of the
 * columns a tile of high ones is followed by that of the low ones. inputs is a multiple of TILE_BYTES. */
static __attribute__((noinline)) void tile_level_sums(const Bytes *columns, const int8_t *rows, int32_t inputs,
                                                      TileSums to) {
  TileSums sums[3] __attribute__((aligned(64)));
  const int64_t stride = 2 * (int64_t)inputs;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int32_t k = 0; k < inputs; k += TILE_BYTES, columns += 2) {
    _tile_loadd(4, rows + k, stride);
    _tile_loadd(6, columns[0], TILE_BYTES);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(5, rows + inputs + k, stride);
    _tile_dpbusd(1, 5, 6);
    _tile_loadd(7, columns[1], TILE_BYTES);
    _tile_dpbsud(2, 4, 7);
    _tile_dpbuud(3, 5, 7);
  }
  _tile_stored(0, sums[0], TILE_BYTES);
  _tile_stored(1, sums[1], TILE_BYTES);
  _tile_stored(2, to, TILE_BYTES);
  _tile_stored(3, sums[2], TILE_BYTES);
  for (int row = 0; row < TILE_ROWS; ++row)
    _mm512_store_si512(sums[1][row], _mm512_add_epi32(_mm512_load_si512(sums[1][row]), _mm512_loadu_si512(to[row])));
  combine(sums[0], sums[1], sums[2], to);
}
#else
static inline void begin_products(void) {}
static inline void end_products(void) {}
#endif
