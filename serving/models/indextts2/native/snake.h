/* The anti-aliased snake of snake.py over [frames][channels]. */
#pragma once

#include "filtering.h"

enum {
  SPAN = 96, /* frames activated together: their upsampled pairs stay in the first cache */
  TAPS = 12,
  BEFORE = 3, /* pairs that an output reads before its own, and after it; and samples that a pair reads */
  WIDE = 2 * LANES,
};

/* sin^2(pi turns) within 2e-7 of the same of the rounded argument, |turns| < 2^22 */
INLINE Floats sine_squared(Floats turns) {
  const Floats rounder = splat(12582912.0f);
  const Floats rest = turns - ((turns + rounder) - rounder), square = rest * rest;
  Floats p = splat(-3.2729451656f);
  p = multiply_add(p, square, splat(12.9907302856f));
  p = multiply_add(p, square, splat(-30.0859527588f));
  p = multiply_add(p, square, splat(42.7253837585f));
  p = multiply_add(p, square, splat(-32.4695816040f));
  p = multiply_add(p, square, splat(9.8696031570f));
  return p * square;
}

/* The snakes of the two upsampled samples at a frame: x [7][stride] from BEFORE frames before it. */
INLINE void make_pair(const float *x, int64_t stride, const float *filter, Floats turns, Floats amplitude, Floats *even,
                      Floats *odd) {
  Floats sums[2] = {{0}, {0}};
  for (int i = 0; i < TAPS / 2; ++i) {
    sums[0] = multiply_add(splat(2.0f * filter[2 * i + 1]), load(x + (5 - i) * stride), sums[0]);
    sums[1] = multiply_add(splat(2.0f * filter[2 * i]), load(x + (6 - i) * stride), sums[1]);
  }
  *even = multiply_add(amplitude, sine_squared(turns * sums[0]), sums[0]);
  *odd = multiply_add(amplitude, sine_squared(turns * sums[1]), sums[1]);
}

/* y[t - first] for t in first..stop, at most SPAN of them, of vectors * LANES channels; all pointers are at the first
 * of these. */
INLINE void activate_span(const float *filter, const float *turns, const float *amplitude, const float *x,
                          int32_t frames, int32_t channels, int32_t first, int32_t stop, int vectors, float *y) {
  Floats pairs[SPAN + 2 * BEFORE][2][2];
  const int32_t begin = first - BEFORE, end = stop + BEFORE;
  const int32_t low = begin < 0 ? 0 : begin, high = end > frames ? frames : end;
  for (int32_t u = low; u < high; ++u) {
    const float *from = x + (int64_t)(u - BEFORE) * channels;
    int64_t stride = channels;
    float held[7 * WIDE];
    if (u < BEFORE || u + BEFORE >= frames) {
      for (int32_t k = 0; k < 7; ++k) {
        const int32_t at = u + k - BEFORE, inside = at < 0 ? 0 : at < frames ? at : frames - 1;
        memcpy(held + k * WIDE, x + (int64_t)inside * channels, sizeof(float) * (size_t)(vectors * LANES));
      }
      from = held, stride = WIDE;
    }
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v)
      make_pair(from + v * LANES, stride, filter, load(turns + v * LANES), load(amplitude + v * LANES),
                &pairs[u - begin][0][v], &pairs[u - begin][1][v]);
  }
  for (int v = 0; v < vectors; ++v) {
    for (int32_t u = begin; u < low; ++u) pairs[u - begin][0][v] = pairs[u - begin][1][v] = pairs[low - begin][0][v];
    for (int32_t u = high; u < end; ++u)
      pairs[u - begin][0][v] = pairs[u - begin][1][v] = pairs[high - 1 - begin][1][v];
  }
  for (int32_t t = 0; t < stop - first; ++t)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      Floats sum = {0};
      for (int i = 0; i < TAPS / 2; ++i) {
        sum = multiply_add(splat(filter[2 * i + 1]), pairs[t + i + 1][0][v], sum);
        sum = multiply_add(splat(filter[2 * i]), pairs[t + i][1][v], sum);
      }
      store(y + (int64_t)t * channels + v * LANES, sum);
    }
}

/* y[n] = snake(x)[first + n] for n in 0..count, zero outside 0..frames; without turns x itself. */
static void activate(const float *filter, const float *turns, const float *amplitude, const float *x, int32_t frames,
                     int32_t channels, int32_t first, int32_t count, float *y) {
  const int32_t low = first < 0 ? 0 : first > frames ? frames : first;
  const int32_t high = first + count < low ? low : first + count > frames ? frames : first + count;
  memset(y, 0, sizeof(float) * (size_t)channels * (size_t)(low - first < count ? low - first : count));
  if (high - first < count && high >= first)
    memset(y + (int64_t)(high - first) * channels, 0, sizeof(float) * (size_t)channels * (size_t)(first + count - high));
  if (!turns) {
    memcpy(y + (int64_t)(low - first) * channels, x + (int64_t)low * channels,
           sizeof(float) * (size_t)channels * (size_t)(high - low));
    return;
  }
  for (int32_t t = low; t < high; t += SPAN) {
    const int32_t stop = t + SPAN < high ? t + SPAN : high;
    float *to = y + (int64_t)(t - first) * channels;
    int32_t c = 0;
    for (; c + WIDE <= channels; c += WIDE)
      activate_span(filter, turns + c, amplitude + c, x + c, frames, channels, t, stop, 2, to + c);
    if (c < channels) activate_span(filter, turns + c, amplitude + c, x + c, frames, channels, t, stop, 1, to + c);
  }
}
