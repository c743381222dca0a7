/* The velocity estimator's parts and sizes, and what its layers share. */
#pragma once

#include "attention_levels.h"
#include "wide.h"

enum {
  FLOW_TILE = WIDE_ROWS, /* frames of a layer that stay in the cache together: a multiple of MATRIX_ROWS */
  FLOW_CHANNELS = 512,
  FLOW_HIDDEN = 1536,
  FLOW_HEADS = 32,
  WAVENET_TAPS = 5,              /* of a convolution; */
  WAVENET_GROUP = 4,             /* frames that share its products, */
  WAVENET_POINTS = 8,            /* one at each point; see toom_cook.py */
  WAVENET_GROUPS = 2 * SUM_ROWS, /* groups of a tile of convolutions: at most WIDE_ROWS */
  WAVENET_SPAN = WAVENET_GROUPS * WAVENET_GROUP,
  /* Bound of what all functions of flow.c together hold on the stack of a thread; a test checks it. */
  FLOW_STACK_BYTES = 192 * 1024,
};

typedef struct {
  Wide qkv, out, gate_up, down, skip; /* skip.outputs is 0 in the shallow half */
} Block;

typedef struct {
  Wide points[WAVENET_POINTS], residual_skip;
  const float *bias; /* [2 channels], of the convolution */
} GatedLayer;

typedef struct {
  const Block *blocks;
  const GatedLayer *gated;
  Matrix merge_x, join_hidden, join_x, wavenet_in, wavenet_around, last, mel_out;
  const float *unconditioned;   /* [channels] */
  const float *cosines, *sines; /* [frames][head size / 2] */
  const float *spread, *gather; /* [points][points] and [group][points]: B and A of toom_cook.py */
  int32_t depth, gated_count, heads, channels, wave_channels, hidden, mels;
  float norm_epsilon, last_epsilon;
} Estimator;

/* What one Euler iteration of a segment reads. The kept frames are first .. frames - 1. */
typedef struct {
  const float *x, *constant;            /* [frames][mels], [frames][channels] */
  const float *norm_scale, *norm_shift; /* [2 depth + 1][channels] */
  const float *condition;               /* [gated_count][2 wave_channels] */
  const float *last_scale, *last_shift; /* [wave_channels] */
  int32_t frames, first;
  float guidance; /* 0: one sequence */
} Segment;

/* Where a thread works on a tile. */
typedef struct {
  float *attention;        /* attend_scratch() */
  float *wide;             /* [FLOW_TILE][3 FLOW_CHANNELS], or [WAVENET_SPAN][2 FLOW_CHANNELS] */
  float *broader, *narrow; /* [FLOW_TILE][2 and 1 times FLOW_CHANNELS] */
  WideRows rows, hidden;   /* of up to 2 FLOW_CHANNELS inputs, and of FLOW_HIDDEN */
} Workspace;

/* Frames of a sequence that one thread works on at a time: `count` from `frame` on. */
typedef struct {
  int32_t frame, count;
} Tile;

static inline int32_t tiles_of(int32_t frames, int32_t size) { return (frames + size - 1) / size; }

/* Tile `item` of `size` frames, of the frames first .. end - 1. */
static inline Tile tile_of(int32_t item, int32_t size, int32_t first, int32_t end) {
  const int32_t frame = first + item * size;
  return (Tile){frame, end - frame < size ? end - frame : size};
}

/* y = scale * x / rms(x) + shift */
static void modulated_norm(const float *x, int32_t channels, float epsilon, const float *scale, const float *shift,
                           float *y) {
  float squares[LANES] = {0};
  for (int32_t c = 0; c < channels; c += LANES)
    for (int lane = 0; lane < LANES; ++lane) squares[lane] += x[c + lane] * x[c + lane];
  const float factor = 1.0f / sqrtf(total(squares) / (float)channels + epsilon);
  for (int32_t c = 0; c < channels; ++c) y[c] = x[c] * factor * scale[c] + shift[c];
}

/* y [count][outputs] = matrix x + bias for a tile of rows [count][channels], quantised here; the matrix is of one part.
 */
static void apply(const Matrix *matrix, const float *x, int32_t count, float *y) {
  int16_t levels[FLOW_TILE * FLOW_CHANNELS];
  float scales[FLOW_TILE];
  const int32_t inputs = matrix->inputs;
  for (int32_t row = 0; row < count; ++row)
    scales[row] = quantise(x + (int64_t)row * inputs, inputs, inputs, matrix->limit, levels + (int64_t)row * inputs);
  const Rows rows = {levels, scales, inputs, 0, 0};
  multiply_many(matrix, &rows, count, y, matrix->outputs);
}

/* Rows x [count][inputs of a part] as part `part` of what the matrix reads. */
static void pair_rows(const Wide *matrix, const float *x, int32_t count, int32_t part, WideRows *to) {
  const int64_t inputs = matrix->inputs;
  for (int32_t row = 0; row < count; row += 2)
    quantise_pair(matrix, x + row * inputs, x + (row + 1 < count ? row + 1 : row) * inputs, part, row / 2, to);
}
