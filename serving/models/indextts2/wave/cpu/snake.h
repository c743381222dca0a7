/* The anti-aliased snake of snake.py over [frames][channels]. */
#pragma once

#include "filtering.h"

enum {
  SNAKE_SPAN = 96, /* frames activated together: their upsampled pairs stay in the first cache */
  SNAKE_TAPS = 12,
  SNAKE_BEFORE = 3, /* pairs that an output reads before its own, and after it; samples that a pair reads likewise */
  SNAKE_READ = 2 * SNAKE_BEFORE + 1, /* samples that a pair reads in all */
  SNAKE_WIDTH = 2 * LANES,           /* most channels activated together */
};

/* A snake: turns are frequencies / pi, [channels]; turns are null where there is none. */
typedef struct {
  const float *filter; /* [SNAKE_TAPS] */
  const float *turns, *amplitude;
} Snake;

/* A signal, [frames][channels]. */
typedef struct {
  const float *x;
  int32_t frames, channels;
} Signal;

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

/* The three passes over a span, each a function of its own so that its constants stay in registers and no compiler
 * carries what it loads from one turn of its loop to the next. Pairs are [..][2][vectors * LANES]. */

/* Tap of the symmetric filter. */
INLINE Floats tap_of(const Floats taps[SNAKE_TAPS / 2], int tap) {
  return taps[tap < SNAKE_TAPS / 2 ? tap : SNAKE_TAPS - 1 - tap];
}

/* pairs [count]: the upsampled samples at each frame, from x at SNAKE_BEFORE frames before the first of them. */
INLINE void rise(const float *filter, const float *x, int64_t stride, int32_t count, int vectors, float *pairs) {
  Floats taps[SNAKE_TAPS / 2];
  for (int i = 0; i < SNAKE_TAPS / 2; ++i) taps[i] = splat(2.0f * filter[i]);
  for (int32_t u = 0; u < count; ++u, x += stride, pairs += 2 * vectors * LANES)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      Floats even = {0}, odd = {0};
#pragma GCC unroll 6
      for (int i = 0; i < SNAKE_TAPS / 2; ++i) {
        even = multiply_add(tap_of(taps, 2 * i + 1), load(x + (5 - i) * stride + v * LANES), even);
        odd = multiply_add(tap_of(taps, 2 * i), load(x + (6 - i) * stride + v * LANES), odd);
      }
      store(pairs + v * LANES, even), store(pairs + (vectors + v) * LANES, odd);
    }
}

INLINE void bend(const float *turns, const float *amplitude, int32_t samples, int vectors, float *pairs) {
  for (int32_t u = 0; u < samples; ++u, pairs += vectors * LANES)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      const Floats x = load(pairs + v * LANES);
      store(pairs + v * LANES, multiply_add(load(amplitude + v * LANES), sine_squared(load(turns + v * LANES) * x), x));
    }
}

/* y [count], its rows `stride` apart, from pairs at SNAKE_BEFORE frames before the first of them. */
INLINE void fall(const float *filter, const float *pairs, int32_t count, int vectors, float *y, int64_t stride) {
  Floats taps[SNAKE_TAPS / 2];
  for (int i = 0; i < SNAKE_TAPS / 2; ++i) taps[i] = splat(filter[i]);
  for (int32_t t = 0; t < count; ++t, y += stride, pairs += 2 * vectors * LANES)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      Floats even = {0}, odd = {0};
#pragma GCC unroll 6
      for (int i = 0; i < SNAKE_TAPS / 2; ++i) {
        even = multiply_add(tap_of(taps, 2 * i + 1), load(pairs + (2 * (i + 1) * vectors + v) * LANES), even);
        odd = multiply_add(tap_of(taps, 2 * i), load(pairs + ((2 * i + 1) * vectors + v) * LANES), odd);
      }
      store(y + v * LANES, even + odd);
    }
}

#define SNAKE_PASS static __attribute__((noinline))
SNAKE_PASS void rise_1(const float *filter, const float *x, int64_t stride, int32_t count, float *pairs) {
  rise(filter, x, stride, count, 1, pairs);
}
SNAKE_PASS void rise_2(const float *filter, const float *x, int64_t stride, int32_t count, float *pairs) {
  rise(filter, x, stride, count, 2, pairs);
}
SNAKE_PASS void bend_1(const float *turns, const float *amplitude, int32_t samples, float *pairs) {
  bend(turns, amplitude, samples, 1, pairs);
}
SNAKE_PASS void bend_2(const float *turns, const float *amplitude, int32_t samples, float *pairs) {
  bend(turns, amplitude, samples, 2, pairs);
}
SNAKE_PASS void fall_1(const float *filter, const float *pairs, int32_t count, float *y, int64_t stride) {
  fall(filter, pairs, count, 1, y, stride);
}
SNAKE_PASS void fall_2(const float *filter, const float *pairs, int32_t count, float *y, int64_t stride) {
  fall(filter, pairs, count, 2, y, stride);
}

/* y[t - first] for t in first..stop, at most SNAKE_SPAN of them, of `width` channels from `channel` on: LANES or twice
 * that. y's rows are as long as the signal's. */
static void activate_span(const Snake *snake, const Signal *signal, int32_t channel, int32_t width, int32_t first,
                          int32_t stop, float *y) {
  float pairs[(SNAKE_SPAN + 2 * SNAKE_BEFORE) * 2 * SNAKE_WIDTH] __attribute__((aligned(64)));
  float border[SNAKE_READ * SNAKE_WIDTH];
  void (*const rise_of)(const float *, const float *, int64_t, int32_t, float *) =
      width == SNAKE_WIDTH ? rise_2 : rise_1;
  const float *const x = signal->x + channel;
  const int32_t frames = signal->frames, channels = signal->channels, pair = 2 * width;
  const int32_t begin = first - SNAKE_BEFORE, end = stop + SNAKE_BEFORE;
  const int32_t low = begin < 0 ? 0 : begin, high = end > frames ? frames : end;
  const int32_t inside =
      high > frames - SNAKE_BEFORE ? frames - SNAKE_BEFORE : high; /* pairs beyond read past the end */
  const size_t bytes = sizeof(float) * (size_t)width;
  for (int32_t u = low; u < high;) {
    if (u >= SNAKE_BEFORE && u < inside) {
      rise_of(snake->filter, x + (int64_t)(u - SNAKE_BEFORE) * channels, channels, inside - u,
              pairs + (u - begin) * pair);
      u = inside;
      continue;
    }
    for (int32_t k = 0; k < SNAKE_READ; ++k) {
      const int32_t at = u + k - SNAKE_BEFORE;
      memcpy(border + k * width, x + (int64_t)(at < 0 ? 0 : at < frames ? at : frames - 1) * channels, bytes);
    }
    rise_of(snake->filter, border, width, 1, pairs + (u - begin) * pair);
    ++u;
  }
  (width == SNAKE_WIDTH ? bend_2 : bend_1)(snake->turns + channel, snake->amplitude + channel, 2 * (high - low),
                                           pairs + (low - begin) * pair);
  /* The first even sample before the signal, the last odd one after it. */
  for (int32_t sample = 0; sample < 2 * (low - begin); ++sample)
    memcpy(pairs + sample * width, pairs + (low - begin) * pair, bytes);
  for (int32_t sample = 2 * (high - begin); sample < 2 * (end - begin); ++sample)
    memcpy(pairs + sample * width, pairs + (high - begin) * pair - width, bytes);
  (width == SNAKE_WIDTH ? fall_2 : fall_1)(snake->filter, pairs, stop - first, y + channel, channels);
}

/* y[n] = snake(signal)[first + n] for n in 0..count, zero outside 0..frames; without turns the signal itself. */
static void activate(const Snake *snake, const Signal *signal, int32_t first, int32_t count, float *y) {
  const int32_t frames = signal->frames, channels = signal->channels;
  const int32_t low = first < 0 ? 0 : first > frames ? frames : first;
  const int32_t high = first + count < low ? low : first + count > frames ? frames : first + count;
  memset(y, 0, sizeof(float) * (size_t)channels * (size_t)(low - first < count ? low - first : count));
  if (high - first < count && high >= first)
    memset(y + (int64_t)(high - first) * channels, 0,
           sizeof(float) * (size_t)channels * (size_t)(first + count - high));
  if (!snake->turns) {
    memcpy(y + (int64_t)(low - first) * channels, signal->x + (int64_t)low * channels,
           sizeof(float) * (size_t)channels * (size_t)(high - low));
    return;
  }
  for (int32_t t = low; t < high; t += SNAKE_SPAN) {
    const int32_t stop = t + SNAKE_SPAN < high ? t + SNAKE_SPAN : high;
    for (int32_t c = 0; c < channels; c += SNAKE_WIDTH)
      activate_span(snake, signal, c, channels - c < SNAKE_WIDTH ? channels - c : SNAKE_WIDTH, t, stop,
                    y + (int64_t)(t - first) * channels);
  }
}
