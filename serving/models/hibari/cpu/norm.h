/* Layer norm of rows. */
#pragma once

#include "numbers.h"

/* Layer norm of a row, with its scale and shift; channels a multiple of 2 * LANES, and y may be x. Sums run in lanes,
 * always in the same order. */
static void normalise_row(const float *x, int32_t channels, float epsilon, const float *scale, const float *shift,
                          float *y) {
  Floats left = {0}, right = {0};
  for (int32_t c = 0; c < channels; c += 2 * LANES) left += load(x + c), right += load(x + c + LANES);
  float lanes[LANES];
  store(lanes, left + right);
  const Floats mean = splat(total(lanes) / (float)channels);
  left = right = (Floats){0};
  for (int32_t c = 0; c < channels; c += 2 * LANES) {
    const Floats a = load(x + c) - mean, b = load(x + c + LANES) - mean;
    left = multiply_add(a, a, left), right = multiply_add(b, b, right);
  }
  store(lanes, left + right);
  const Floats inverse = splat(1.0f / sqrtf(total(lanes) / (float)channels + epsilon));
  for (int32_t c = 0; c < channels; c += LANES)
    store(y + c, multiply_add((load(x + c) - mean) * inverse, load(scale + c), load(shift + c)));
}
