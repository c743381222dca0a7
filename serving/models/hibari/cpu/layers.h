/* The layers that the voice's network is made of, on rows of floats: linear layers and ConvNeXt blocks. */
#pragma once

#include "matrix.h"
#include "norm.h"

enum {
  LAYER_TILE = 48, /* rows of a layer that stay in the cache together */
  LAYER_MAX_INPUTS = 1024,
  LAYER_MAX_OUTPUTS = 1024,
  LAYER_MAX_TAPS = 16,
};

/* A tile's inputs, scales, one row and outputs: arrays of their own, which a compiler knows not to overlap. */
_Static_assert(2 * LAYER_TILE * LAYER_MAX_INPUTS + 4 * (LAYER_TILE + 1) * (LAYER_MAX_OUTPUTS + 2) <= STACK_BYTES,
               "a tile does not fit on the stack");

/* A linear layer of `channels` inputs and `width` outputs. Its inputs may be normalised first: scale and shift
 * [channels] are then the norm's, channels a multiple of 2 * LANES; else null. */
typedef struct {
  Matrix matrix;
  const float *scale, *shift;
  int32_t channels, width;
} Layer;

/* A ConvNeXt block: depthwise taps [tap_count][channels], norm, widen, gelu, narrow. channels is a multiple of
 * MATRIX_COLUMNS. */
typedef struct {
  Layer widen, narrow;
  const float *taps, *taps_bias;
  int32_t tap_count, dilation, channels;
} Block;

/* y [rows][width] = (residual +) act(layer x). */
typedef struct {
  const Layer *layer;
  const float *x;        /* row r are the `channels` numbers from x + r * stride */
  const float *residual; /* [rows][width], null or y itself */
  float *y;
  int32_t rows, stride;
  int32_t gelu;  /* act is gelu, or nothing */
  float epsilon; /* of the norm */
} Linear;

/* The frames that a block reads, [..][channels], and those that it writes. Output row t reads rows t + offset + tap *
 * dilation of x, and its centre is the middle tap's. Rows -rows_before to -1 of x lie in `before`; others outside
 * 0..rows_in count as zero, and the centre is never one of them. y must not overlap x. */
typedef struct {
  const float *before, *x;
  float *y;
  int32_t rows_before, rows_in, rows_out, offset;
} Frames;

/* x to row `row` of a layer's levels, normalised first if the layer says so. */
INLINE void prepare_row(const Layer *layer, const float *x, float epsilon, int32_t row, const Quantised *to) {
  float normal[LAYER_MAX_INPUTS];
  if (layer->scale) normalise_row(x, layer->channels, epsilon, layer->scale, layer->shift, normal), x = normal;
  quantise_row(&layer->matrix, x, layer->channels, row, to);
}

static void apply(const Linear *job) {
  const Layer *layer = job->layer;
  const Matrix *matrix = &layer->matrix;
  const int32_t width = layer->width;
  const int direct = !job->residual && width == matrix->outputs;
  int16_t levels[LAYER_TILE * LAYER_MAX_INPUTS]; /* or bytes, in half of it */
  int32_t zeros[LAYER_TILE];
  float scales[LAYER_TILE], outputs[LAYER_TILE * LAYER_MAX_OUTPUTS];
  const Quantised rows = {levels, scales, zeros};
  for (int32_t first = 0; first < job->rows; first += LAYER_TILE) {
    const int32_t count = job->rows - first < LAYER_TILE ? job->rows - first : LAYER_TILE;
    float *y = job->y + (int64_t)first * width, *made = direct ? y : outputs;
    for (int32_t row = 0; row < count; ++row)
      prepare_row(layer, job->x + (int64_t)(first + row) * job->stride, job->epsilon, row, &rows);
    if (job->gelu)
      multiply(matrix, &rows, count, made, 1);
    else
      multiply(matrix, &rows, count, made, 0);
    if (direct) continue;
    for (int32_t row = 0; row < count; ++row, y += width) {
      const float *from = outputs + row * matrix->outputs;
      if (job->residual) {
        const float *old = job->residual + (int64_t)(first + row) * width;
        for (int32_t c = 0; c < width; ++c) y[c] = old[c] + from[c];
      } else {
        memcpy(y, from, sizeof(float) * (size_t)width);
      }
    }
  }
}

/* Row of x, or of what lies before it. */
static inline const float *row_of(const Frames *frames, int32_t row, int32_t channels) {
  return row < 0 ? frames->before + (int64_t)(frames->rows_before + row) * channels
                 : frames->x + (int64_t)row * channels;
}

/* The depthwise taps of output row `row`. */
INLINE void depthwise(const Block *block, const Frames *frames, int32_t row, float *y) {
  const int32_t channels = block->channels;
  const float *from[LAYER_MAX_TAPS], *weight[LAYER_MAX_TAPS];
  int32_t count = 0;
  for (int32_t tap = 0; tap < block->tap_count; ++tap) {
    const int32_t at = row + frames->offset + tap * block->dilation;
    if (at < -frames->rows_before || at >= frames->rows_in) continue;
    from[count] = row_of(frames, at, channels), weight[count++] = block->taps + tap * channels;
  }
  for (int32_t c = 0; c < channels; c += 2 * LANES) {
    Floats left = load(block->taps_bias + c), right = load(block->taps_bias + c + LANES);
    for (int32_t tap = 0; tap < count; ++tap) {
      left = multiply_add(load(from[tap] + c), load(weight[tap] + c), left);
      right = multiply_add(load(from[tap] + c + LANES), load(weight[tap] + c + LANES), right);
    }
    store(y + c, left), store(y + c + LANES, right);
  }
}

/* y[t] = x[t + centre] + narrow(gelu(widen(norm(depthwise(x)[t])))) for t in 0..rows_out. */
static void convnext_rows(const Block *block, const Frames *frames, float epsilon) {
  const Matrix *widen = &block->widen.matrix, *narrow = &block->narrow.matrix;
  const int32_t channels = block->channels, centre = frames->offset + block->dilation * (block->tap_count / 2);
  int16_t levels[LAYER_TILE * LAYER_MAX_INPUTS]; /* or bytes, in half of it */
  int32_t zeros[LAYER_TILE];
  float scales[LAYER_TILE], row_in[LAYER_MAX_INPUTS], outputs[LAYER_TILE * LAYER_MAX_OUTPUTS];
  const Quantised rows = {levels, scales, zeros};
  for (int32_t first = 0; first < frames->rows_out; first += LAYER_TILE) {
    const int32_t count = frames->rows_out - first < LAYER_TILE ? frames->rows_out - first : LAYER_TILE;
    for (int32_t row = 0; row < count; ++row) {
      depthwise(block, frames, first + row, row_in);
      prepare_row(&block->widen, row_in, epsilon, row, &rows);
    }
    multiply(widen, &rows, count, outputs, 1);
    for (int32_t row = 0; row < count; ++row)
      quantise_row(narrow, outputs + row * widen->outputs, widen->outputs, row, &rows);
    float *to = frames->y + (int64_t)first * channels;
    multiply(narrow, &rows, count, to, 0);
    for (int32_t row = 0; row < count; ++row, to += channels) {
      const float *from = row_of(frames, first + row + centre, channels);
      for (int32_t c = 0; c < channels; ++c) to[c] += from[c];
    }
  }
}
