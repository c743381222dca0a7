/* The transformer of the velocity estimator: dit.py. */
#pragma once

#include "estimator.h"

/* to [size] = x [size], its pairs turned by the frame's angles, times scale. */
static void turn(const Estimator *net, const float *x, int32_t frame, int32_t size, float scale, float *to) {
  const int32_t half = size / 2;
  const float *cosine = net->cosines + (int64_t)frame * half, *sine = net->sines + (int64_t)frame * half;
  for (int32_t c = 0; c < half; ++c) {
    to[c] = (x[c] * cosine[c] - x[c + half] * sine[c]) * scale;
    to[c + half] = (x[c + half] * cosine[c] + x[c] * sine[c]) * scale;
  }
}

/* Query, key and value of `frame`, an even one, and of the next if there are two, to their head. qkv: the frame's
 * query; its key and value lie the channels of all heads further each, the next frame's three times that. */
static void keep_heads(const Estimator *net, const float *qkv, int two, int32_t frame, int32_t frames,
                       const Head *head) {
  const int32_t channels = net->channels, size = channels / net->heads;
  float turned[FLOW_CHANNELS];
  int16_t levels[2][FLOW_CHANNELS];
  for (int32_t at = frame; at <= frame + two; ++at, qkv += 3 * channels) {
    turn(net, qkv, at, size, 1.0f / sqrtf((float)size), turned);
    head->query_scale[at] = quantise_normed(turned, size, head->queries + (int64_t)at * size);
    turn(net, qkv + channels, at, size, 1.0f, turned);
    head->key_scale[at] = quantise_normed(turned, size, levels[0]);
    int16_t *key = head->keys + (int64_t)(at / MATRIX_COLUMNS) * MATRIX_COLUMNS * size + at % MATRIX_COLUMNS * 2;
    for (int32_t c = 0; c < size; c += 2, key += 2 * MATRIX_COLUMNS) memcpy(key, levels[0] + c, 2 * sizeof *key);
  }
  qkv -= 3 * channels * (1 + two);
  for (int32_t later = 0; later <= two; ++later)
    head->value_scale[frame + later] =
        quantise(qkv + (3 * later + 2) * channels, size, size, ATTENTION_VALUE, levels[later]);
  if (!two) memset(levels[1], 0, sizeof levels[1]);
  int16_t *value = head->values + (int64_t)(frame / ATTENTION_PART) * ATTENTION_PART * size +
                   frame % ATTENTION_PART * MATRIX_COLUMNS;
  for (int32_t panel = 0; panel < size; panel += MATRIX_COLUMNS, value += ATTENTION_PART * MATRIX_COLUMNS)
    for (int32_t c = 0; c < MATRIX_COLUMNS; ++c)
      value[2 * c] = levels[0][panel + c], value[2 * c + 1] = levels[1][panel + c];
  if (frame + two == frames - 1)
    for (int32_t past = frames; past < padded_keys(frames); ++past) head->value_scale[past] = 0;
}

/* The first half of a block for a tile of x: the skip from `pushed`, then queries, keys and values of its frames.
 * Pointers to rows are at the tile's first. */
static void project(const Estimator *net, const Segment *segment, int32_t layer, Tile tile, const float *pushed,
                    float *x, const Head *heads) {
  const int32_t count = tile.count;
  const Block *block = net->blocks + layer;
  const int32_t channels = net->channels, size = channels / net->heads;
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
  for (int32_t head = 0; head < net->heads; ++head)
    for (int32_t row = 0; row < count; row += 2)
      keep_heads(net, qkv + row * 3 * channels + head * size, count - row > 1, tile.frame + row, segment->frames,
                 heads + head);
}

/* The second half of a block for a tile: attention and the gated feed-forward. */
static void transform(const Estimator *net, const Segment *segment, int32_t layer, Tile tile, const float *x,
                      const Head *heads, float *scratch, float *y) {
  const int32_t count = tile.count;
  const Block *block = net->blocks + layer;
  const int32_t channels = net->channels, size = channels / net->heads, hidden = net->hidden;
  float context[FLOW_TILE * FLOW_CHANNELS], rows[FLOW_TILE * FLOW_CHANNELS], wide[FLOW_TILE * 2 * FLOW_HIDDEN];
  for (int32_t head = 0; head < net->heads; ++head)
    for (int32_t row = 0; row < count; row += MATRIX_ROWS)
      attend(heads + head, tile.frame + row, count - row < MATRIX_ROWS ? count - row : MATRIX_ROWS, segment->frames,
             size, scratch, context + row * channels + head * size, channels);
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
