/* Functions of one number, written so that a compiler vectorises the loops around them, and of a row of them. */
#pragma once

#include <math.h>

#include "vector.h"

static inline float exp_of(float x) { /* relative error below 2e-7 for |x| < 87 */
  x = x < -87.0f ? -87.0f : x > 87.0f ? 87.0f : x;
  const float n = rintf(x * 1.44269504f);
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  union {
    int32_t i;
    float f;
  } power = {((int32_t)n + 127) << 23};
  return p * power.f;
}

static inline float tanh_of(float x) { return 1.0f - 2.0f / (exp_of(2.0f * x) + 1.0f); }

/* x times the normal distribution function, by a polynomial in x^2 fitted to it on |x| < 4.25 and held beyond:
 * error below 5e-6 inside, below 1.1e-5 |x| outside. */
static inline float gelu_of(float x) {
  const float z = x < -4.25f ? -4.25f : x > 4.25f ? 4.25f : x, s = z * z;
  float p = -2.13475526e-12f;
  p = p * s + 2.35255149e-10f;
  p = p * s - 1.16668533e-8f;
  p = p * s + 3.47290182e-7f;
  p = p * s - 7.00634246e-6f;
  p = p * s + 1.02773774e-4f;
  p = p * s - 1.14519370e-3f;
  p = p * s + 9.89129860e-3f;
  p = p * s - 6.64100498e-2f;
  p = p * s + 3.98915112e-1f;
  return x * (0.5f + z * p);
}

/* sine and cosine of `turns` half turns: error below 2e-7 for |turns| < 1e5 */
static inline void sincos_of(float turns, float *sine, float *cosine) {
  const float n = rintf(2.0f * turns);
  const float r = (turns - 0.5f * n) * 3.14159265f, s = r * r;
  const float a = r + r * s * (-1.6666654611e-1f + s * (8.3321608736e-3f - 1.9515295891e-4f * s));
  const float b =
      1.0f - 0.5f * s + s * s * (4.166664568298827e-2f + s * (-1.388731625493765e-3f + s * 2.443315711809948e-5f));
  const int32_t quarter = (int32_t)n & 3;
  const float swapped_s = quarter & 1 ? b : a, swapped_c = quarter & 1 ? a : b;
  *sine = quarter & 2 ? -swapped_s : swapped_s;
  *cosine = (quarter + 1) & 2 ? -swapped_c : swapped_c;
}

/* Sums and peaks run in LANES partial ones, so that their order, and with it the last bit, never depends on where a
 * row lies in memory. channels must be a multiple of LANES for normalise. */
static inline void normalise(const float *x, int32_t channels, float epsilon, float *y) {
  float sums[LANES] = {0}, squares[LANES] = {0};
  for (int32_t c = 0; c < channels; c += LANES)
    for (int lane = 0; lane < LANES; ++lane) sums[lane] += x[c + lane];
  const float mean = total(sums) / (float)channels;
  for (int32_t c = 0; c < channels; c += LANES)
    for (int lane = 0; lane < LANES; ++lane) {
      const float value = x[c + lane] - mean;
      y[c + lane] = value;
      squares[lane] += value * value;
    }
  const float scale = 1.0f / sqrtf(total(squares) / (float)channels + epsilon);
  for (int32_t c = 0; c < channels; ++c) y[c] *= scale;
}
