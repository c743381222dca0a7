/* The WaveNet of the velocity estimator: wavenet.py. */
#pragma once

#include "estimator.h"

/* Frame of 0 .. last that stands for one past either end: mirrored there, and never outside. */
static inline int32_t reflected(int32_t frame, int32_t last) {
  const int32_t place = frame < 0 ? -frame : frame, mirrored = last - (place > last ? place - last : last - place);
  return mirrored < 0 ? 0 : mirrored;
}

/* to [channels] = what the convolution of wave [last + 1][channels] reads at `point` for the group from `frame` on. */
static void point_row(const Estimator *net, const float *wave, int32_t last, int32_t frame, int point, float *to) {
  const int32_t channels = net->wave_channels;
  memset(to, 0, sizeof(float) * (size_t)channels);
  for (int tap = 0; tap < WAVENET_POINTS; ++tap) {
    const float factor = net->spread[point * WAVENET_POINTS + tap];
    const float *from = wave + (int64_t)reflected(frame + tap - WAVENET_TAPS / 2, last) * channels;
    if (factor != 0.0f)
      for (int32_t c = 0; c < channels; ++c) to[c] += factor * from[c];
  }
}

/* y [groups of frames][2 channels] = the convolution of wave [last + 1][channels], from `frame` on. */
static void convolve(const Estimator *net, const GatedLayer *gated, const float *wave, int32_t last, int32_t frame,
                     int32_t groups, Workspace *work, float *y) {
  const int32_t channels = net->wave_channels;
  float rows[2 * FLOW_CHANNELS], *const products = work->broader;
  for (int point = 0; point < WAVENET_POINTS; ++point) {
    for (int32_t group = 0; group < groups; group += 2) {
      const int two = groups - group > 1;
      for (int32_t later = 0; later <= two; ++later)
        point_row(net, wave, last, frame + (group + later) * WAVENET_GROUP, point, rows + later * channels);
      quantise_pair(gated->points + point, rows, rows + two * channels, 0, group / 2, &work->rows);
    }
    multiply_wide(gated->points + point, &work->rows, groups, 0, products);
    for (int32_t row = 0; row < groups * WAVENET_GROUP; ++row) {
      const float factor = net->gather[row % WAVENET_GROUP * WAVENET_POINTS + point];
      const float *from = products + row / WAVENET_GROUP * 2 * channels;
      float *to = y + row * 2 * channels;
      if (point == 0)
        for (int32_t c = 0; c < 2 * channels; ++c) to[c] = gated->bias[c] + factor * from[c];
      else if (factor != 0.0f)
        for (int32_t c = 0; c < 2 * channels; ++c) to[c] += factor * from[c];
    }
  }
}

/* What a layer reads and writes of one sequence's kept frames, 0 .. last; all [last + 1][channels]. */
typedef struct {
  const float *before;
  float *after; /* `before` with the layer's residual */
  float *sum;   /* of the layers' outputs */
  int32_t last;
} Wave;

/* A layer of the WaveNet for a tile of at most WAVENET_SPAN frames. */
static void gate(const Estimator *net, const Segment *segment, int32_t layer, Tile tile, const Wave *wave,
                 Workspace *work) {
  const int32_t count = tile.count;
  float *const sum = wave->sum;
  const GatedLayer *gated = net->gated + layer;
  const int32_t channels = net->wave_channels, outputs = gated->residual_skip.outputs;
  const float *condition = segment->condition + 2 * (int64_t)layer * channels;
  const int is_final = layer == net->gated_count - 1;
  float *const wide = work->wide, *const rows = work->narrow, *const mixed = work->broader;
  convolve(net, gated, wave->before, wave->last, tile.frame, (count + WAVENET_GROUP - 1) / WAVENET_GROUP, work, wide);
  for (int32_t first = 0; first < count; first += FLOW_TILE) {
    const int32_t here = count - first < FLOW_TILE ? count - first : FLOW_TILE;
    for (int32_t row = 0; row < here; ++row) {
      const float *signal = wide + (first + row) * 2 * channels, *shut = signal + channels;
      for (int32_t c = 0; c < channels; ++c)
        rows[row * channels + c] =
            tanh_of(signal[c] + condition[c]) / (1.0f + exp_of(-(shut[c] + condition[channels + c])));
    }
    pair_rows(&gated->residual_skip, rows, here, 0, &work->rows);
    multiply_wide(&gated->residual_skip, &work->rows, here, 0, mixed);
    for (int32_t row = 0; row < here; ++row) {
      const float *from = mixed + row * outputs, *output = is_final ? from : from + channels;
      const int64_t at = (int64_t)(tile.frame + first + row) * channels;
      for (int32_t c = 0; c < channels; ++c) {
        if (!is_final) wave->after[at + c] = wave->before[at + c] + from[c];
        sum[at + c] = (layer ? sum[at + c] : 0.0f) + output[c];
      }
    }
  }
}
