/* The embedded voice's network on a CPU: whole layers per call, matrix products of 16-bit integers.
 *
 * A matrix is stored as int16 levels with one scale per output, an input row as int16 levels with one scale per row.
 * Products are summed exactly in int32: the caller bounds the levels so that no sum can overflow. A row's result is
 * therefore the same bit for bit whatever rows are computed beside it. An instruction makes 16 products where float32
 * makes 8; on a Zen 3 core that gives 60 products a nanosecond against 35 to 40.
 *
 * All arrays are contiguous, [rows][channels]; floats are float32. No function allocates, fails or keeps state. A
 * layer keeps its tile on the stack, 300 KB, and attention a head, 540 KB. */
#include "attention.h"
#include "matrix.h"

enum {
  NETWORK_TILE = 48, /* rows of a layer that stay in the cache together */
  NETWORK_MAX_INPUTS = 1024,
  NETWORK_MAX_OUTPUTS = 1024,
  NETWORK_MAX_TOKENS = 512,
  NETWORK_MAX_HEAD = 128,
};

/* What there is room for: layers.py refuses larger sizes. */
const int32_t max_inputs = NETWORK_MAX_INPUTS, max_outputs = NETWORK_MAX_OUTPUTS;
const int32_t max_tokens = NETWORK_MAX_TOKENS, max_head = NETWORK_MAX_HEAD;

/* A tile's inputs, scales, one row and outputs: arrays of their own, which a compiler knows not to overlap. */
_Static_assert(2 * NETWORK_TILE * NETWORK_MAX_INPUTS + 4 * (NETWORK_TILE + 1) * (NETWORK_MAX_OUTPUTS + 2) <=
                   STACK_BYTES,
               "a tile does not fit on the stack");
_Static_assert(NETWORK_MAX_TOKENS % ATTENTION_KEYS == 0, "the last panel of keys may be full");
_Static_assert(4 * (2 * NETWORK_MAX_TOKENS * NETWORK_MAX_HEAD +
                    MATRIX_ROWS * (NETWORK_MAX_HEAD + NETWORK_MAX_TOKENS)) <=
                   STACK_BYTES,
               "a head does not fit on the stack");

/* A ConvNeXt block: depthwise taps [tap_count][channels], norm, widen, gelu, narrow. */
typedef struct {
  Matrix widen, narrow;
  const float *taps, *taps_bias;
  int32_t tap_count, dilation, channels;
} Block;

/* A text encoder: two blocks, then `repeats` times one transformer layer. */
typedef struct {
  Block convs[2];
  Matrix qkv, out, linear1, linear2;
  int32_t repeats, heads;
  float epsilon; /* of every norm */
} TextEncoder;

/* The decoder: a first matrix of 2 * reach + 1 frames side by side, then an even number of blocks. */
typedef struct {
  Matrix first;
  const Block *blocks;
  int32_t block_count, reach, width; /* channels of an input frame */
  float epsilon;
} Decoder;

/* y [rows][width] = (residual +) act(matrix (normalised) x + bias), width <= matrix outputs. */
typedef struct {
  const Matrix *matrix;
  const float *x;        /* row r are the `channels` numbers from x + r * stride */
  const float *residual; /* [rows][width], null or y itself */
  float *y;
  int32_t rows, stride, channels, width;
  int32_t gelu;   /* act is gelu, or nothing */
  int32_t normal; /* layer norm without affine before the product */
  float epsilon;  /* of the norm */
} Linear;

/* The frames that a block reads, [..][channels], and those that it writes. Output row t reads rows t + offset + tap *
 * dilation of x, and its centre is the middle tap's. Rows -rows_before to -1 of x lie in `before`; others outside
 * 0..rows_in count as zero, and the centre is never one of them. y must not overlap x. */
typedef struct {
  const float *before, *x;
  float *y;
  int32_t rows_before, rows_in, rows_out, offset;
} Frames;

/* One window of the decoder. */
typedef struct {
  const float *inputs;   /* `rows` frames, each of which sees 2 * reach + 1 rows of `width` numbers from its own on */
  const float *before;   /* [block_count][rows_before][channels]: the last input frames of each block so far */
  const int32_t *counts; /* [block_count]: frames that each block computes */
  float *kept;           /* [block_count][2 * reach][channels]: the same after this window; undefined at the front
                            where a block has had fewer */
  float *features;       /* [most of rows and counts][channels] */
  float *scratch;        /* likewise */
  int32_t rows, rows_before; /* rows_before is 0 in a first window, else 2 * reach */
} Window;

void linear(const Linear *job) {
  const Matrix *matrix = job->matrix;
  int16_t levels[NETWORK_TILE * NETWORK_MAX_INPUTS]; /* or bytes, in half of it */
  int32_t zeros[NETWORK_TILE];
  float scales[NETWORK_TILE], row_in[NETWORK_MAX_INPUTS], outputs[NETWORK_TILE * NETWORK_MAX_OUTPUTS];
  const Quantised rows = {levels, scales, zeros};
  for (int32_t first = 0; first < job->rows; first += NETWORK_TILE) {
    const int32_t count = job->rows - first < NETWORK_TILE ? job->rows - first : NETWORK_TILE;
    for (int32_t row = 0; row < count; ++row) {
      const float *from = job->x + (int64_t)(first + row) * job->stride;
      if (job->normal) normalise(from, job->channels, job->epsilon, row_in), from = row_in;
      quantise_row(matrix, from, job->channels, row, &rows);
    }
    if (job->gelu)
      multiply(matrix, &rows, count, outputs, 1);
    else
      multiply(matrix, &rows, count, outputs, 0);
    for (int32_t row = 0; row < count; ++row) {
      const float *from = outputs + row * matrix->outputs;
      float *to = job->y + (int64_t)(first + row) * job->width;
      if (job->residual) {
        const float *old = job->residual + (int64_t)(first + row) * job->width;
        for (int32_t c = 0; c < job->width; ++c) to[c] = old[c] + from[c];
      } else {
        memcpy(to, from, sizeof(float) * (size_t)job->width);
      }
    }
  }
}

/* Row of x, or of what lies before it. */
static inline const float *row_of(const Frames *frames, int32_t row, int32_t channels) {
  return row < 0 ? frames->before + (int64_t)(frames->rows_before + row) * channels
                 : frames->x + (int64_t)row * channels;
}

/* y[t] = x[t + centre] + narrow(gelu(widen(norm(depthwise(x)[t])))) for t in 0..rows_out. */
void convnext(const Block *block, const Frames *frames, float epsilon) {
  const Matrix *widen = &block->widen, *narrow = &block->narrow;
  const int32_t channels = block->channels, tap_count = block->tap_count, dilation = block->dilation;
  const int32_t offset = frames->offset, centre = offset + dilation * (tap_count / 2);
  int16_t levels[NETWORK_TILE * NETWORK_MAX_INPUTS]; /* or bytes, in half of it */
  int32_t zeros[NETWORK_TILE];
  float scales[NETWORK_TILE], row_in[NETWORK_MAX_INPUTS], outputs[NETWORK_TILE * NETWORK_MAX_OUTPUTS];
  const Quantised rows = {levels, scales, zeros};
  for (int32_t first = 0; first < frames->rows_out; first += NETWORK_TILE) {
    const int32_t count = frames->rows_out - first < NETWORK_TILE ? frames->rows_out - first : NETWORK_TILE;
    for (int32_t row = 0; row < count; ++row) {
      memcpy(row_in, block->taps_bias, sizeof(float) * (size_t)channels);
      for (int32_t tap = 0; tap < tap_count; ++tap) {
        const int32_t at = first + row + offset + tap * dilation;
        if (at < -frames->rows_before || at >= frames->rows_in) continue;
        const float *from = row_of(frames, at, channels), *weight = block->taps + tap * channels;
        for (int32_t c = 0; c < channels; ++c) row_in[c] += from[c] * weight[c];
      }
      normalise(row_in, channels, epsilon, row_in);
      quantise_row(widen, row_in, channels, row, &rows);
    }
    multiply(widen, &rows, count, outputs, 1);
    for (int32_t row = 0; row < count; ++row)
      quantise_row(narrow, outputs + row * widen->outputs, widen->outputs, row, &rows);
    float *to = frames->y + (int64_t)first * channels;
    multiply(narrow, &rows, count, to, 0);
    for (int32_t row = 0; row < count; ++row) {
      const float *from = row_of(frames, first + row + centre, channels);
      for (int32_t c = 0; c < channels; ++c) to[row * channels + c] += from[c];
    }
  }
}

/* y [tokens][heads * size] = softmax(q k / sqrt(size)) v, for qkv [tokens][3][heads][size]; tokens <=
 * NETWORK_MAX_TOKENS, size a multiple of ATTENTION_KEYS and at most NETWORK_MAX_HEAD. */
static void attend_heads(const float *qkv, int32_t tokens, int32_t heads, int32_t size, float *y) {
  const int64_t width = (int64_t)heads * size;
  const float scale = 1.0f / sqrtf((float)size);
  float keys[NETWORK_MAX_TOKENS * NETWORK_MAX_HEAD], values[NETWORK_MAX_TOKENS * NETWORK_MAX_HEAD];
  float queries[MATRIX_ROWS * NETWORK_MAX_HEAD], weights[MATRIX_ROWS * NETWORK_MAX_TOKENS];
  for (int32_t head = 0; head < heads; ++head) {
    const float *q = qkv + head * size, *k = q + width, *v = k + width;
    for (int32_t first = 0; first < tokens; first += ATTENTION_KEYS)
      for (int32_t c = 0; c < size; ++c)
        for (int32_t key = 0; key < ATTENTION_KEYS; ++key)
          keys[first * size + c * ATTENTION_KEYS + key] = first + key < tokens ? k[(first + key) * 3 * width + c] : 0;
    for (int32_t token = 0; token < tokens; ++token)
      memcpy(values + token * size, v + token * 3 * width, sizeof(float) * (size_t)size);
    for (int32_t first = 0; first < tokens; first += MATRIX_ROWS) {
      const int32_t rows = tokens - first < MATRIX_ROWS ? tokens - first : MATRIX_ROWS;
      for (int32_t row = 0; row < rows; ++row)
        for (int32_t c = 0; c < size; ++c) queries[row * size + c] = q[(first + row) * 3 * width + c] * scale;
      attend(queries, keys, values, rows, tokens, size, weights, y + first * width + head * size, width);
    }
  }
}

/* Embedded tokens x [tokens][channels] to features in place, not yet normalised; tokens <= NETWORK_MAX_TOKENS. scratch
 * [tokens][channels + most of 3 * channels and linear1's outputs]. */
void encode_text(const TextEncoder *text, int32_t tokens, float *x, float *scratch) {
  const int32_t channels = text->convs[0].channels, wide = text->linear1.outputs;
  const float epsilon = text->epsilon;
  float *other = scratch, *spread = scratch + (int64_t)tokens * channels;
  const Frames there = {x, x, other, 0, tokens, tokens, -text->convs[0].tap_count / 2};
  const Frames back = {other, other, x, 0, tokens, tokens, -text->convs[1].tap_count / 2};
  convnext(text->convs, &there, epsilon);
  convnext(text->convs + 1, &back, epsilon);
  const Linear qkv = {&text->qkv, x, 0, spread, tokens, channels, channels, 3 * channels, 0, 1, epsilon};
  const Linear out = {&text->out, other, x, x, tokens, channels, channels, channels, 0, 0, epsilon};
  const Linear linear1 = {&text->linear1, x, 0, spread, tokens, channels, channels, wide, 1, 1, epsilon};
  const Linear linear2 = {&text->linear2, spread, x, x, tokens, wide, wide, channels, 0, 0, epsilon};
  for (int32_t repeat = 0; repeat < text->repeats; ++repeat) {
    linear(&qkv);
    attend_heads(spread, tokens, text->heads, channels / text->heads, other);
    linear(&out);
    linear(&linear1);
    linear(&linear2);
  }
}

/* The features of a window's frames, [counts of the last block][channels], into window->features. */
void decode(const Decoder *decoder, const Window *window) {
  const int32_t channels = decoder->blocks->channels, history = 2 * decoder->reach, width = decoder->width;
  const int32_t rows_before = window->rows_before;
  const Linear first = {
      &decoder->first,  window->inputs, 0, window->features, window->rows, width, (history + 1) * width, channels, 0, 0,
      decoder->epsilon,
  };
  linear(&first);
  float *x = window->features, *y = window->scratch;
  int32_t rows = window->rows;
  for (int32_t l = 0; l < decoder->block_count; ++l) {
    const float *before = window->before + (int64_t)l * rows_before * channels;
    const Frames frames = {
        before, x, y, rows_before, rows, window->counts[l], rows_before ? -history : -decoder->reach};
    for (int32_t row = 0; row < history; ++row) {
      const int32_t at = rows - history + row;
      if (at >= -rows_before)
        memcpy(window->kept + ((int64_t)l * history + row) * channels, row_of(&frames, at, channels),
               sizeof(float) * (size_t)channels);
    }
    convnext(decoder->blocks + l, &frames, decoder->epsilon);
    float *swap = x;
    x = y, y = swap;
    rows = window->counts[l];
  }
}
