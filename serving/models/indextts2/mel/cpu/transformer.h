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

/* As pair_rows, of x's rows normalised and modulated by norm number `norm`. */
static void pair_norms(const Estimator *net, const Segment *segment, int32_t norm, const Wide *matrix, const float *x,
                       int32_t count, WideRows *to) {
  const int32_t channels = net->channels;
  const float *scale = segment->norm_scale + norm * channels, *shift = segment->norm_shift + norm * channels;
  float rows[2 * FLOW_CHANNELS];
  for (int32_t row = 0; row < count; row += 2) {
    const int32_t two = count - row > 1;
    for (int32_t later = 0; later <= two; ++later)
      modulated_norm(x + (row + later) * channels, channels, net->norm_epsilon, scale, shift, rows + later * channels);
    quantise_pair(matrix, rows, rows + two * channels, 0, row / 2, to);
  }
}

/* x / (1 + exp(-x)), relative error below 1e-5. */
INLINE Floats silu(Floats x) {
  const Ints negative = x < splat(0.0f);
  const Floats shrunk = exp_down(least(x, -x)), one = splat(1.0f);
  return x * (Floats)(((Ints)shrunk & negative) | ((Ints)one & ~negative)) / (one + shrunk);
}

/* to [count][columns] = silu(gate) * up, both of the `columns` outputs of either half of gate_up from `first` on; they
 * are a multiple of SUM_COLUMNS, and the matrix is of one part. */
static void gate_rows(const Wide *gate_up, const WideRows *x, int32_t count, int32_t first, int32_t columns,
                      float *to) {
  Sums sums __attribute__((aligned(64)));
  const int32_t half = gate_up->outputs / 2;
  for (int32_t column = 0; column < columns; column += SUM_COLUMNS) {
    const float *scale = gate_up->scale + first + column, *bias = gate_up->bias + first + column;
    for (int32_t begin = 0; begin < count; begin += SUM_ROWS) {
      const int32_t end = count - begin < SUM_ROWS ? count : begin + SUM_ROWS;
      wide_block(gate_up, x, 0, begin, end - begin, first + column, sums);
      for (int32_t row = begin; row < end; ++row) {
        const int32_t *gate = sums_of(sums, row - begin, 0), *up = sums_of(sums, row - begin, 1);
        const float of_row = x->scale[0][row];
        for (int32_t i = 0; i < SUM_COLUMNS; i += LANES) {
          const Floats shut = scaled(gate + i, of_row) * load(scale + i) + load(bias + i);
          const Floats open = scaled(up + i, of_row) * load(scale + half + i) + load(bias + half + i);
          store(to + (int64_t)row * columns + column + i, silu(shut) * open);
        }
      }
    }
  }
}

/* The first half of a block for a tile of x: the skip from `pushed`, then queries, keys and values of its frames.
 * Pointers to rows are at the tile's first. */
static void project(const Estimator *net, const Segment *segment, int32_t layer, Tile tile, const float *pushed,
                    float *x, const Head *heads, Workspace *work) {
  const int32_t count = tile.count;
  const Block *block = net->blocks + layer;
  const int32_t channels = net->channels, size = channels / net->heads;
  if (block->skip.outputs) {
    pair_rows(&block->skip, x, count, 0, &work->rows);
    pair_rows(&block->skip, pushed, count, 1, &work->rows);
    multiply_wide(&block->skip, &work->rows, count, 0, x);
  }
  pair_norms(net, segment, 2 * layer, &block->qkv, x, count, &work->rows);
  multiply_wide(&block->qkv, &work->rows, count, 0, work->wide);
  for (int32_t head = 0; head < net->heads; ++head)
    for (int32_t row = 0; row < count; row += 2)
      keep_heads(net, work->wide + row * 3 * channels + head * size, count - row > 1, tile.frame + row, segment->frames,
                 heads + head);
}

/* The second half of a block for a tile: attention and the gated feed-forward. y may be x. */
static void transform(const Estimator *net, const Segment *segment, int32_t layer, Tile tile, const float *x,
                      const Head *heads, Workspace *work, float *y) {
  const int32_t count = tile.count;
  const Block *block = net->blocks + layer;
  const Wide *down = &block->down;
  const int32_t channels = net->channels, size = channels / net->heads;
  for (int32_t head = 0; head < net->heads; ++head)
    for (int32_t row = 0; row < count; row += MATRIX_ROWS)
      attend(heads + head, tile.frame + row, count - row < MATRIX_ROWS ? count - row : MATRIX_ROWS, segment->frames,
             size, work->attention, work->narrow + row * channels + head * size, channels);
  pair_rows(&block->out, work->narrow, count, 0, &work->rows);
  multiply_wide(&block->out, &work->rows, count, x, y);
  pair_norms(net, segment, 2 * layer + 1, &block->gate_up, y, count, &work->rows);
  for (int32_t part = 0; part < down->parts; ++part) {
    gate_rows(&block->gate_up, &work->rows, count, part * down->inputs, down->inputs, work->wide);
    pair_rows(down, work->wide, count, part, &work->hidden);
  }
  multiply_wide(down, &work->hidden, count, y, y);
}
