/* The embedded voice's network on a CPU: whole networks per call, matrix products of integers.
 *
 * A matrix is stored as levels with one scale per output, an input row as levels with one scale per row (matrix.h).
 * Products are summed exactly in int32: the caller bounds the levels so that no sum can overflow. A row's result is
 * therefore the same bit for bit whatever rows are computed beside it.
 *
 * All arrays are contiguous, [rows][channels]; floats are float32. No function allocates, fails or keeps state. A
 * layer keeps its tile on the stack, 300 KB, and attention a head, 540 KB. */
#include "attention.h"
#include "layers.h"

enum {
  NETWORK_MAX_TOKENS = 512,
  NETWORK_MAX_HEAD = 128,
  NETWORK_OUTPUTS = 4, /* of a frame of the prosody: twice the pitch, twice the energy */
};

/* What there is room for: layers.py refuses larger sizes. */
const int32_t max_inputs = LAYER_MAX_INPUTS, max_outputs = LAYER_MAX_OUTPUTS, max_taps = LAYER_MAX_TAPS;
const int32_t max_tokens = NETWORK_MAX_TOKENS, max_head = NETWORK_MAX_HEAD;

_Static_assert(NETWORK_MAX_TOKENS % ATTENTION_KEYS == 0, "the last panel of keys may be full");
_Static_assert(4 * (2 * NETWORK_MAX_TOKENS * NETWORK_MAX_HEAD +
                    MATRIX_ROWS * (NETWORK_MAX_HEAD + NETWORK_MAX_TOKENS)) <=
                   STACK_BYTES,
               "a head does not fit on the stack");

/* A text encoder: embedding, two blocks, then `repeats` times one transformer layer, and a norm. */
typedef struct {
  Block convs[2];
  Layer qkv, out, linear1, linear2;
  const float *embedding; /* [symbols][channels] */
  const float *scale, *shift;
  int32_t repeats, heads;
  float epsilon; /* of every norm */
} TextEncoder;

/* Both text encoders and the durations. */
typedef struct {
  const TextEncoder *speech, *prosody;
  Layer hidden;              /* of three tokens of the prosody's features side by side */
  const float *log_duration; /* [hidden's width] */
  float bias;
} Encoder;

/* Pitch and energy. */
typedef struct {
  Layer first;
  const Block *blocks;
  const float *last, *bias; /* [NETWORK_OUTPUTS][channels], and [NETWORK_OUTPUTS] */
  int32_t block_count;      /* even */
  float epsilon;
} Prosody;

/* The decoder: a first layer of 2 * reach + 1 frames side by side, then an even number of blocks. */
typedef struct {
  Layer first;
  const Block *blocks;
  int32_t block_count, reach, width; /* channels of an input frame */
  float epsilon;
} Decoder;

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

void linear(const Linear *job) { apply(job); }

void convnext(const Block *block, const Frames *frames, float epsilon) { convnext_rows(block, frames, epsilon); }

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

/* Sum of the products of a and b, `count` of each, a multiple of LANES; always in the same order. */
static float dot(const float *a, const float *b, int32_t count) {
  Floats sums = {0};
  for (int32_t c = 0; c < count; c += LANES) sums = multiply_add(load(a + c), load(b + c), sums);
  float lanes[LANES];
  store(lanes, sums);
  return total(lanes);
}

/* Token ids to features x [tokens][channels]; tokens <= NETWORK_MAX_TOKENS. scratch [tokens][channels + most of 3 *
 * channels and linear1's width]. */
void encode_text(const TextEncoder *text, const int64_t *ids, int32_t tokens, float *x, float *scratch) {
  const int32_t channels = text->convs[0].channels, wide = text->linear1.width;
  const float epsilon = text->epsilon;
  float *other = scratch, *spread = scratch + (int64_t)tokens * channels;
  for (int32_t token = 0; token < tokens; ++token)
    memcpy(x + (int64_t)token * channels, text->embedding + ids[token] * channels, sizeof(float) * (size_t)channels);
  const Frames there = {x, x, other, 0, tokens, tokens, -text->convs[0].tap_count / 2};
  const Frames back = {other, other, x, 0, tokens, tokens, -text->convs[1].tap_count / 2};
  convnext_rows(text->convs, &there, epsilon);
  convnext_rows(text->convs + 1, &back, epsilon);
  const Linear qkv = {&text->qkv, x, 0, spread, tokens, channels, 0, epsilon};
  const Linear out = {&text->out, other, x, x, tokens, channels, 0, epsilon};
  const Linear linear1 = {&text->linear1, x, 0, spread, tokens, channels, 1, epsilon};
  const Linear linear2 = {&text->linear2, spread, x, x, tokens, wide, 0, epsilon};
  for (int32_t repeat = 0; repeat < text->repeats; ++repeat) {
    apply(&qkv);
    attend_heads(spread, tokens, text->heads, channels / text->heads, other);
    apply(&out);
    apply(&linear1);
    apply(&linear2);
  }
  for (int32_t token = 0; token < tokens; ++token, x += channels)
    normalise_row(x, channels, epsilon, text->scale, text->shift, x);
}

/* Token ids to the features of both encoders and the durations, in frames of the prosody. `prosody` has a row of
 * zeros on either side, [1 + tokens + 1][channels]. Without `speech` those features are left out. scratch as
 * encode_text wants it, for the larger of the two, and not less than [tokens][hidden's width]. */
void encode(const Encoder *encoder, const int64_t *ids, int32_t tokens, float *speech, float *prosody,
            int64_t *durations, float *scratch) {
  const int32_t channels = encoder->prosody->convs[0].channels, width = encoder->hidden.width;
  encode_text(encoder->prosody, ids, tokens, prosody + channels, scratch);
  const Linear hidden = {&encoder->hidden, prosody, 0, scratch, tokens, channels, 1, 0};
  apply(&hidden);
  for (int32_t token = 0; token < tokens; ++token) {
    const float frames =
        rintf(expm1f(dot(scratch + (int64_t)token * width, encoder->log_duration, width) + encoder->bias));
    durations[token] = frames > 1 ? (int64_t)frames : 1;
  }
  if (speech) encode_text(encoder->speech, ids, tokens, speech, scratch);
}

/* Text features [frames][channels] to pitch in Hz and energy, [2 * frames] each. scratch [2][frames][channels]. */
void predict(const Prosody *prosody, const float *text, int32_t frames, float *f0, float *energy, float *scratch) {
  const int32_t channels = prosody->first.channels;
  float *x = scratch, *y = scratch + (int64_t)frames * channels;
  const Linear first = {&prosody->first, text, 0, x, frames, channels, 0, prosody->epsilon};
  apply(&first);
  for (int32_t l = 0; l < prosody->block_count; ++l) {
    const Block *block = prosody->blocks + l;
    const Frames all = {x, x, y, 0, frames, frames, -block->dilation * (block->tap_count / 2)};
    convnext_rows(block, &all, prosody->epsilon);
    float *swap = x;
    x = y, y = swap;
  }
  for (int32_t frame = 0; frame < frames; ++frame, x += channels) {
    float made[NETWORK_OUTPUTS];
    for (int output = 0; output < NETWORK_OUTPUTS; ++output)
      made[output] = dot(x, prosody->last + output * channels, channels) + prosody->bias[output];
    for (int half = 0; half < 2; ++half)
      f0[2 * frame + half] = made[half] * 100, energy[2 * frame + half] = made[2 + half];
  }
}

/* The features of a window's frames, [counts of the last block][channels], into window->features. */
void decode(const Decoder *decoder, const Window *window) {
  const int32_t channels = decoder->blocks->channels, history = 2 * decoder->reach;
  const int32_t rows_before = window->rows_before;
  const Linear first = {&decoder->first, window->inputs, 0, window->features, window->rows, decoder->width, 0, 0};
  apply(&first);
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
    convnext_rows(decoder->blocks + l, &frames, decoder->epsilon);
    float *swap = x;
    x = y, y = swap;
    rows = window->counts[l];
  }
}
