/* Vectors of floats, and minimal filtering: a few outputs of a filter from fewer products than taps times outputs.
 *
 * A scheme makes some outputs of a filter of `taps` taps, from as many inputs and taps - 1 more, with one product a
 * point: y = out ((kernel g) * (in d)), with g the taps and d the inputs. Points are 0, 1, -1, 2, and for more taps -2
 * and -1/2, and infinity (Toom-Cook). Schemes of 8 and 12 taps are of two or three pieces of four: those are a filter
 * of tiles, from which a scheme of its own (points 0, 1, for three pieces -1, and infinity) makes two tiles at once.
 * The matrix of the taps lies with their packing (convolution.py). */
#pragma once

#include "vector.h"

enum {
  FILTER_TILE = 4,   /* outputs of a scheme of two to four taps; one of one tap makes one */
  FILTER_POINTS = 7, /* of four taps */
  FILTER_PIECES = 3,
};

/* Rows of in by columns of the inputs. */
static const float IN2[5][5] = {
    {2, -1, -2, 1, 0}, {0, -2, -1, 1, 0}, {0, 2, -3, 1, 0}, {0, -1, 0, 1, 0}, {0, 2, -1, -2, 1},
};
static const float IN3[6][6] = {
    {4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
    {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1},
};
static const float IN4[7][7] = {
    {2, 4, -2.5f, -5, 0.5f, 1, 0}, {0, -2, -6, -3.5f, 1.5f, 1, 0}, {0, 2, 2, -4.5f, -0.5f, 1, 0},
    {0, -1, -2.5f, 0, 2.5f, 1, 0}, {0, 1, 1.5f, -2, -1.5f, 1, 0},  {0, 4, 0, -5, 0, 1, 0},
    {0, 2, 4, -2.5f, -5, 0.5f, 1},
};
/* Outputs by points. */
static const float OUT2[FILTER_TILE][5] = {{1, 1, 1, 1, 0}, {0, 1, -1, 2, 0}, {0, 1, 1, 4, 0}, {0, 1, -1, 8, 1}};
static const float OUT3[FILTER_TILE][6] = {
    {1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}};
static const float OUT4[FILTER_TILE][7] = {
    {1, 1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, -0.5f, 0}, {0, 1, 1, 4, 4, 0.25f, 0}, {0, 1, -1, 8, -8, -0.125f, 1}};

INLINE float in_of(int taps, int point, int input) {
  return taps == 4 ? IN4[point][input] : taps == 3 ? IN3[point][input] : taps == 2 ? IN2[point][input] : 1.0f;
}

INLINE float out_of(int taps, int output, int point) {
  return taps == 4 ? OUT4[output][point] : taps == 3 ? OUT3[output][point] : taps == 2 ? OUT2[output][point] : 1.0f;
}

INLINE int pieces_of(int taps) { return taps > 4 ? taps / 4 : 1; }

INLINE int outputs_of(int taps) { return taps > 4 ? 2 * FILTER_TILE : taps == 1 ? 1 : FILTER_TILE; }

INLINE int points_of(int taps) {
  return taps > 4 ? (pieces_of(taps) + 1) * FILTER_POINTS : outputs_of(taps) + taps - 1;
}

/* sum + factor * x, for a factor known when this is compiled. */
INLINE Floats add_scaled(Floats sum, float factor, Floats x) {
  if (factor == 0.0f) return sum;
  if (factor == 1.0f) return sum + x;
  if (factor == -1.0f) return sum - x;
  return multiply_add(splat(factor), x, sum);
}

/* to: points `size` apart, of inputs from: `step` apart. */
INLINE void to_points(const float *from, int64_t step, int taps, float *to, int64_t size) {
  const int inner = taps > 4 ? 4 : taps, pieces = pieces_of(taps), tiles = pieces > 1 ? pieces + 1 : 1;
  const int width = (inner == 1 ? 1 : FILTER_TILE) + inner - 1;
  Floats tile[FILTER_PIECES + 1][FILTER_POINTS];
#pragma GCC unroll 4
  for (int i = 0; i < tiles; ++i)
#pragma GCC unroll 7
    for (int point = 0; point < width; ++point) {
      tile[i][point] = splat(0.0f);
#pragma GCC unroll 7
      for (int k = 0; k < width; ++k)
        tile[i][point] = add_scaled(tile[i][point], in_of(inner, point, k), load(from + (FILTER_TILE * i + k) * step));
    }
#pragma GCC unroll 7
  for (int point = 0; point < width; ++point) {
    const Floats a = tile[0][point], b = tile[1][point], c = tile[2][point], d = tile[3][point];
    float *const at = to + point * size;
    const int64_t next = width * size;
    if (pieces == 1)
      store(at, a);
    else if (pieces == 2)
      store(at, a - b), store(at + next, b), store(at + 2 * next, c - b);
    else
      store(at, a - c), store(at + next, b + c), store(at + 2 * next, c - b), store(at + 3 * next, d - b);
  }
}

/* The products of points, `size` apart, as those of the scheme of at most four taps for one tile or two. */
INLINE void to_tiles(const float *from, int64_t size, int taps, Floats tiles[2][FILTER_POINTS]) {
  const int width = pieces_of(taps) > 1 ? FILTER_POINTS : points_of(taps);
  const int64_t next = width * size;
#pragma GCC unroll 7
  for (int point = 0; point < width; ++point, from += size) {
    const Floats a = load(from);
    tiles[0][point] = a;
    if (pieces_of(taps) == 1) continue;
    const Floats b = load(from + next), c = load(from + 2 * next);
    if (pieces_of(taps) == 2)
      tiles[0][point] = a + b, tiles[1][point] = b + c;
    else
      tiles[0][point] = a + b + c, tiles[1][point] = b - c + load(from + 3 * next);
  }
}
