/* A layer's matrix and its rows in 16-bit levels, as both ways to multiply them quantise: strassen.h and wide_tiles.h.
 */
#pragma once

#include "products.h"

enum {
  WIDE_LEVEL = 8191, /* largest of an input: four of them are within 16 bits */
  WIDE_PARTS = 3,    /* most parts of a matrix */
#ifdef __AMX_INT8__
  WIDE_ROWS = 96, /* most rows of a call, an even number */
#else
  WIDE_ROWS = 48,
#endif
};

/* As wide.py lays it out; what its levels are is the tier's. Its inputs come in parts as a Matrix's. Half the outputs
 * is a multiple of MATRIX_COLUMNS, half the inputs of a part of 2 * MATRIX_UNROLL. No sum of a part overflows 32 bits,
 * by Cauchy and Schwarz: no part of a row in levels is longer than `norm`, which the longest row of weights allows. */
typedef struct {
  const void *levels;
  const float *scale; /* [outputs] */
  const float *bias;  /* [outputs] */
  int32_t inputs, outputs, parts;
  float norm;
} Wide;

/* The whole numbers nearest to x, whose size is below 2^22. */
INLINE Ints whole(Floats x) { return (Ints)(x + splat(12582912.0f)) - 0x4b400000; /* 1.5 * 2^23 and its bits */ }

/* Levels of a unit of a part of a row, x [inputs]: as many as neither its largest nor its norm forbids. */
static float levels_per_unit(const Wide *matrix, const float *x) {
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
  const float by_peak = WIDE_LEVEL / peak, by_norm = matrix->norm / sqrtf(total(lanes) + 1e-30f);
  return by_peak < by_norm ? by_peak : by_norm;
}
