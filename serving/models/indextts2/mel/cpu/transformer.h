/* The transformer of the velocity estimator: dit.py. */
#pragma once

#include "estimator.h"

/* The first half of a block for a tile of x: the skip from `pushed`, then queries, keys and values of its frames.
 * Pointers to rows are at the tile's first. */
static void project(const Estimator *net, const Segment *segment, int32_t layer, Tile tile, const float *pushed,
                    float *x, const Heads *heads) {
  const int32_t count = tile.count;
  const Block *block = net->blocks + layer;
  const int32_t channels = net->channels, size = channels / net->heads, half = size / 2;
  float rows[FLOW_TILE * 2 * FLOW_CHANNELS], qkv[FLOW_TILE * 3 * FLOW_CHANNELS];
  if (block->skip.outputs) {
    for (int32_t row = 0; row < count; ++row) {
      memcpy(rows + row * 2 * channels, x + row * channels, sizeof(float) * (size_t)channels);
      memcpy(rows + row * 2 * channels + channels, pushed + row * channels, sizeof(float) * (size_t)channels);
    }
    apply(&block->skip, rows, count, x);
  }
  for (int32_t row = 0; row < count; ++row)
    modulated_norm(x + row * channels, channels, net->norm_epsilon, segment->norm_scale + 2 * layer * channels,
                   segment->norm_shift + 2 * layer * channels, rows + row * channels);
  apply(&block->qkv, rows, count, qkv);
  const float scale = 1.0f / sqrtf((float)size);
  const int64_t panel = (int64_t)size * ATTENTION_KEYS;
  for (int32_t head = 0; head < net->heads; ++head)
    for (int32_t row = 0; row < count; ++row) {
      const int32_t at = tile.frame + row;
      const float *q = qkv + row * 3 * channels + head * size, *k = q + channels;
      const float *cosine = net->cosines + (int64_t)at * half, *sine = net->sines + (int64_t)at * half;
      float *to = heads->queries + ((int64_t)head * segment->frames + at) * size;
      float *key = heads->keys + (int64_t)head * padded_keys(segment->frames) * size + at / ATTENTION_KEYS * panel +
                   at % ATTENTION_KEYS;
      for (int32_t c = 0; c < half; ++c) {
        to[c] = (q[c] * cosine[c] - q[c + half] * sine[c]) * scale;
        to[c + half] = (q[c + half] * cosine[c] + q[c] * sine[c]) * scale;
      }
      for (int32_t c = 0; c < half; ++c) {
        key[c * ATTENTION_KEYS] = k[c] * cosine[c] - k[c + half] * sine[c];
        key[(c + half) * ATTENTION_KEYS] = k[c + half] * cosine[c] + k[c] * sine[c];
      }
      memcpy(heads->values + ((int64_t)head * segment->frames + at) * size, k + channels, sizeof(float) * (size_t)size);
      if (at == segment->frames - 1)
        for (int32_t past = at % ATTENTION_KEYS + 1; past < ATTENTION_KEYS; ++past)
          for (int32_t c = 0; c < size; ++c) key[c * ATTENTION_KEYS + past - at % ATTENTION_KEYS] = 0;
    }
}

/* The second half of a block for a tile: attention and the gated feed-forward. */
static void transform(const Estimator *net, const Segment *segment, int32_t layer, Tile tile, const float *x,
                      const Heads *heads, float *weights, float *y) {
  const int32_t count = tile.count;
  const Block *block = net->blocks + layer;
  const int32_t channels = net->channels, size = channels / net->heads, hidden = net->hidden;
  float context[FLOW_TILE * FLOW_CHANNELS], rows[FLOW_TILE * FLOW_CHANNELS], wide[FLOW_TILE * 2 * FLOW_HIDDEN];
  for (int32_t head = 0; head < net->heads; ++head)
    for (int32_t row = 0; row < count; row += MATRIX_ROWS) {
      const int64_t before = (int64_t)head * segment->frames * size;
      attend(heads->queries + before + (int64_t)(tile.frame + row) * size,
             heads->keys + (int64_t)head * padded_keys(segment->frames) * size, heads->values + before,
             count - row < MATRIX_ROWS ? count - row : MATRIX_ROWS, segment->frames, size, weights,
             context + row * channels + head * size, channels);
    }
  apply(&block->out, context, count, y);
  for (int32_t row = 0; row < count; ++row) {
    for (int32_t c = 0; c < channels; ++c) y[row * channels + c] += x[row * channels + c];
    modulated_norm(y + row * channels, channels, net->norm_epsilon, segment->norm_scale + (2 * layer + 1) * channels,
                   segment->norm_shift + (2 * layer + 1) * channels, rows + row * channels);
  }
  apply(&block->gate_up, rows, count, wide);
  for (int32_t row = 0; row < count; ++row) {
    const float *gate = wide + row * 2 * hidden, *up = gate + hidden;
    float *to = wide + row * hidden; /* never past what is still to be read */
    for (int32_t c = 0; c < hidden; ++c) to[c] = silu_of(gate[c]) * up[c];
  }
  apply(&block->down, wide, count, context);
  for (int32_t c = 0; c < count * channels; ++c) y[c] += context[c];
}
