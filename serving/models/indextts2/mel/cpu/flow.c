/* The velocity estimator of the flow for one segment on a CPU: dit.py, wavenet.py and flow.py in one call.
 *
 * A segment is one sequence, or two with guidance: the second hears neither prompt nor text. Matrix products are of
 * 16-bit integers, everything else float32. Threads share the frames of a layer in tiles; nothing that a frame's
 * result is summed from depends on their number.
 *
 * All arrays are contiguous, [frames][channels]. Nothing here allocates, fails or keeps state.
 */
#ifdef _OPENMP
#include <omp.h>
#endif

#include "attention.h"

enum {
  TILE = 24,         /* frames of a layer that stay in the cache together: a multiple of MATRIX_ROWS */
  MAX_CHANNELS = 512,
  MAX_HIDDEN = 1536,
  TAPS = 5,          /* of a convolution; */
  GROUP = 4,         /* frames that share its products, */
  POINTS = 8,        /* one at each point; see toom_cook.py */
  GROUPS = 12,       /* groups of a tile of convolutions */
  WIDE = GROUPS * GROUP,
};

typedef struct {
  Matrix qkv, out, gate_up, down, skip; /* skip.outputs is 0 in the shallow half */
} Block;

typedef struct {
  Matrix points[POINTS], residual_skip;
  const float *bias; /* [2 channels], of the convolution */
} Gated;

typedef struct {
  const Block *blocks;
  const Gated *gated;
  Matrix merge_x, join_hidden, join_x, wavenet_in, wavenet_around, last, mel_out;
  const float *unconditioned;   /* [channels] */
  const float *cosines, *sines; /* [frames][head size / 2] */
  const float *spread, *gather; /* [POINTS][POINTS] and [GROUP][POINTS]: B and A of toom_cook.py */
  int32_t depth, gated_count, heads, channels, wave_channels, hidden, mels;
  float norm_epsilon, last_epsilon;
} Estimator;

/* What a step of a segment reads. The kept frames are first .. frames - 1. */
typedef struct {
  const float *x, *constant;             /* [frames][mels], [frames][channels] */
  const float *norm_scale, *norm_shift;  /* [2 depth + 1][channels] */
  const float *condition;                /* [gated_count][2 wave_channels] */
  const float *last_scale, *last_shift;  /* [wave_channels] */
  int32_t frames, first;
  float guidance;                        /* 0: one sequence */
} Segment;

/* Scratch of one call, carved from one piece of memory; see plan(). */
typedef struct {
  float *levels[16], *queries, *keys, *values, *joined, *waves[2], *sum, *velocity, *weights;
  int64_t weights_size;
} Plan;

static inline float silu_of(float x) { return x / (1.0f + exp_of(-x)); }

static inline int32_t padded_keys(int32_t frames) { return (frames + ATTENTION_KEYS - 1) / ATTENTION_KEYS * ATTENTION_KEYS; }

static inline float *carve(float **memory, int64_t count) {
  float *piece = *memory;
  *memory += (count + LANES - 1) / LANES * LANES;
  return piece;
}

/* Cut scratch for both sequences of `frames` frames; returns the floats it takes (memory may be null). */
static int64_t plan(const Estimator *net, int32_t frames, int32_t threads, float *memory, Plan *p) {
  float *at = memory;
  const int64_t rows = 2 * (int64_t)frames;
  for (int32_t level = 0; level <= net->depth / 2; ++level) p->levels[level] = carve(&at, rows * net->channels);
  p->queries = carve(&at, rows * net->channels);
  p->keys = carve(&at, 2 * (int64_t)padded_keys(frames) * net->channels);
  p->values = carve(&at, rows * net->channels);
  p->joined = carve(&at, rows * net->channels);
  for (int buffer = 0; buffer < 2; ++buffer) p->waves[buffer] = carve(&at, rows * net->wave_channels);
  p->sum = carve(&at, rows * net->wave_channels);
  p->velocity = carve(&at, rows * net->mels);
  p->weights_size = (int64_t)MATRIX_ROWS * padded_keys(frames);
  p->weights = carve(&at, threads * p->weights_size);
  return at - memory;
}

/* floats of scratch that estimate needs for segments of up to `frames` frames */
int64_t scratch_size(const Estimator *net, int32_t frames, int32_t threads) {
  Plan p;
  return plan(net, frames, threads, 0, &p);
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

/* y [count][outputs] = matrix x + bias for a tile of rows [count][channels], quantised here part by part. */
static void apply(const Matrix *matrix, const float *x, int32_t count, float *y) {
  int16_t levels[TILE * MAX_HIDDEN];
  float scales[4 * TILE];
  const int32_t inputs = matrix->inputs, parts = matrix->parts;
  for (int32_t row = 0; row < count; ++row)
    for (int32_t part = 0; part < parts; ++part)
      scales[part * TILE + row] = quantise(x + ((int64_t)row * parts + part) * inputs, inputs, inputs, matrix->limit,
                                          levels + ((int64_t)row * parts + part) * inputs);
  const Rows rows = {levels, scales, (int64_t)parts * inputs, inputs, TILE};
  multiply_rows(matrix, &rows, count, y, matrix->outputs);
}

/* The first half of a block for a tile: the skip, then queries, keys and values of its frames. */
static void project(const Estimator *net, const Segment *segment, int32_t layer, const float *pushed, float *x,
                    int32_t frame, int32_t count, float *queries, float *keys, float *values) {
  const Block *block = net->blocks + layer;
  const int32_t channels = net->channels, size = channels / net->heads, half = size / 2;
  float rows[TILE * 2 * MAX_CHANNELS], qkv[TILE * 3 * MAX_CHANNELS];
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
      const int32_t at = frame + row;
      const float *q = qkv + row * 3 * channels + head * size, *k = q + channels;
      const float *cosine = net->cosines + (int64_t)at * half, *sine = net->sines + (int64_t)at * half;
      float *to = queries + ((int64_t)head * segment->frames + at) * size;
      float *key = keys + (int64_t)head * padded_keys(segment->frames) * size + at / ATTENTION_KEYS * panel + at % ATTENTION_KEYS;
      for (int32_t c = 0; c < half; ++c) {
        to[c] = (q[c] * cosine[c] - q[c + half] * sine[c]) * scale;
        to[c + half] = (q[c + half] * cosine[c] + q[c] * sine[c]) * scale;
      }
      for (int32_t c = 0; c < half; ++c) {
        key[c * ATTENTION_KEYS] = k[c] * cosine[c] - k[c + half] * sine[c];
        key[(c + half) * ATTENTION_KEYS] = k[c + half] * cosine[c] + k[c] * sine[c];
      }
      memcpy(values + ((int64_t)head * segment->frames + at) * size, k + channels, sizeof(float) * (size_t)size);
      if (at == segment->frames - 1)
        for (int32_t past = at % ATTENTION_KEYS + 1; past < ATTENTION_KEYS; ++past)
          for (int32_t c = 0; c < size; ++c) key[c * ATTENTION_KEYS + past - at % ATTENTION_KEYS] = 0;
    }
}

/* The second half of a block for a tile: attention and the gated feed-forward. */
static void transform(const Estimator *net, const Segment *segment, int32_t layer, const float *x, int32_t frame,
                      int32_t count, const float *queries, const float *keys, const float *values, float *weights,
                      float *y) {
  const Block *block = net->blocks + layer;
  const int32_t channels = net->channels, size = channels / net->heads, hidden = net->hidden;
  float heard[TILE * MAX_CHANNELS], rows[TILE * MAX_CHANNELS], wide[TILE * 2 * MAX_HIDDEN];
  for (int32_t head = 0; head < net->heads; ++head)
    for (int32_t row = 0; row < count; row += MATRIX_ROWS) {
      const int64_t before = (int64_t)head * segment->frames * size;
      attend(queries + before + (int64_t)(frame + row) * size,
             keys + (int64_t)head * padded_keys(segment->frames) * size, values + before,
             count - row < MATRIX_ROWS ? count - row : MATRIX_ROWS, segment->frames, size, weights,
             heard + row * channels + head * size, channels);
    }
  apply(&block->out, heard, count, y);
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
  apply(&block->down, wide, count, heard);
  for (int32_t c = 0; c < count * channels; ++c) y[c] += heard[c];
}

/* The transformer's output to the WaveNet's input, for a tile of kept frames. */
static void join(const Estimator *net, const Segment *segment, const float *h, const float *x, int32_t count,
                 float *joined, float *wave) {
  const int32_t channels = net->channels;
  const int64_t last = 2 * (int64_t)net->depth * channels;
  float rows[TILE * MAX_CHANNELS], other[TILE * MAX_CHANNELS];
  for (int32_t row = 0; row < count; ++row)
    modulated_norm(h + row * channels, channels, net->norm_epsilon, segment->norm_scale + last,
                   segment->norm_shift + last, rows + row * channels);
  apply(&net->join_hidden, rows, count, joined);
  apply(&net->join_x, x, count, other);
  for (int32_t c = 0; c < count * channels; ++c) joined[c] += other[c];
  apply(&net->wavenet_in, joined, count, wave);
}

/* Frame of 0 .. last that stands for one past either end: mirrored there, and never outside. */
static inline int32_t reflected(int32_t frame, int32_t last) {
  const int32_t place = frame < 0 ? -frame : frame, mirrored = last - (place > last ? place - last : last - place);
  return mirrored < 0 ? 0 : mirrored;
}

/* y [groups of frames][2 channels] = the convolution of wave [last + 1][channels], from `frame` on. */
static void convolve(const Estimator *net, const Gated *gated, const float *wave, int32_t last, int32_t frame,
                     int32_t groups, float *y) {
  const int32_t channels = net->wave_channels, inputs = gated->points->inputs, parts = gated->points->parts;
  int16_t levels[GROUPS * MAX_CHANNELS];
  float scales[2 * GROUPS], point_row[MAX_CHANNELS], products[GROUPS * 2 * MAX_CHANNELS];
  for (int point = 0; point < POINTS; ++point) {
    for (int32_t group = 0; group < groups; ++group) {
      memset(point_row, 0, sizeof(float) * (size_t)channels);
      for (int tap = 0; tap < POINTS; ++tap) {
        const float factor = net->spread[point * POINTS + tap];
        const float *from = wave + (int64_t)reflected(frame + group * GROUP + tap - TAPS / 2, last) * channels;
        if (factor != 0.0f)
          for (int32_t c = 0; c < channels; ++c) point_row[c] += factor * from[c];
      }
      for (int32_t part = 0; part < parts; ++part)
        scales[part * GROUPS + group] = quantise(point_row + part * inputs, inputs, inputs, gated->points[point].limit,
                                                levels + (group * parts + part) * inputs);
    }
    const Rows rows = {levels, scales, channels, inputs, GROUPS};
    multiply_rows(gated->points + point, &rows, groups, products, 2 * channels);
    for (int32_t row = 0; row < groups * GROUP; ++row) {
      const float factor = net->gather[row % GROUP * POINTS + point], *from = products + row / GROUP * 2 * channels;
      float *to = y + row * 2 * channels;
      if (point == 0)
        for (int32_t c = 0; c < 2 * channels; ++c) to[c] = gated->bias[c] + factor * from[c];
      else if (factor != 0.0f)
        for (int32_t c = 0; c < 2 * channels; ++c) to[c] += factor * from[c];
    }
  }
}

/* A layer of the WaveNet for `count` frames from `frame` on, at most WIDE: `after` is the layer's input with its
 * residual, sum gains its output. */
static void gate(const Estimator *net, const Segment *segment, int32_t layer, const float *before, int32_t last,
                 int32_t frame, int32_t count, float *after, float *sum) {
  const Gated *gated = net->gated + layer;
  const int32_t channels = net->wave_channels, outputs = gated->residual_skip.outputs;
  const float *condition = segment->condition + 2 * (int64_t)layer * channels;
  const int is_last = layer == net->gated_count - 1;
  float wide[WIDE * 2 * MAX_CHANNELS], rows[TILE * MAX_CHANNELS], mixed[TILE * 2 * MAX_CHANNELS];
  convolve(net, gated, before, last, frame, (count + GROUP - 1) / GROUP, wide);
  for (int32_t first = 0; first < count; first += TILE) {
    const int32_t here = count - first < TILE ? count - first : TILE;
    for (int32_t row = 0; row < here; ++row) {
      const float *signal = wide + (first + row) * 2 * channels, *shut = signal + channels;
      for (int32_t c = 0; c < channels; ++c)
        rows[row * channels + c] =
            tanh_of(signal[c] + condition[c]) / (1.0f + exp_of(-(shut[c] + condition[channels + c])));
    }
    apply(&gated->residual_skip, rows, here, mixed);
    for (int32_t row = 0; row < here; ++row) {
      const float *from = mixed + row * outputs, *output = is_last ? from : from + channels;
      const int64_t at = (int64_t)(frame + first + row) * channels;
      for (int32_t c = 0; c < channels; ++c) {
        if (!is_last) after[at + c] = before[at + c] + from[c];
        sum[at + c] = (layer ? sum[at + c] : 0.0f) + output[c];
      }
    }
  }
}

/* The WaveNet's output to velocities, for a tile. */
static void finish(const Estimator *net, const Segment *segment, const float *joined, const float *sum, int32_t count,
                   float *velocity) {
  const int32_t channels = net->wave_channels;
  float rows[TILE * MAX_CHANNELS], other[TILE * MAX_CHANNELS];
  apply(&net->wavenet_around, joined, count, rows);
  for (int32_t row = 0; row < count; ++row) {
    float *at = rows + row * channels;
    for (int32_t c = 0; c < channels; ++c) at[c] += sum[row * channels + c];
    normalise(at, channels, net->last_epsilon, at);
    for (int32_t c = 0; c < channels; ++c) at[c] = at[c] * segment->last_scale[c] + segment->last_shift[c];
  }
  apply(&net->last, rows, count, other);
  apply(&net->mel_out, other, count, velocity);
}

/* velocity [kept frames][mels] of one segment, guided. scratch holds scratch_size() floats. */
void estimate(const Estimator *net, const Segment *segment, int32_t threads, float *scratch, float *velocity) {
  Plan p;
  plan(net, segment->frames, threads, scratch, &p);
  const int32_t copies = segment->guidance != 0.0f ? 2 : 1, frames = segment->frames;
  const int32_t channels = net->channels, middle = net->depth / 2;
  const int32_t kept = frames - segment->first, wide_tiles = (kept + WIDE - 1) / WIDE;
  const int32_t tiles = (frames + TILE - 1) / TILE, kept_tiles = (kept + TILE - 1) / TILE;
  const int64_t size = (int64_t)frames * channels, keys_size = (int64_t)padded_keys(frames) * channels;
  const int64_t kept_size = (int64_t)kept * net->wave_channels;
#ifdef _OPENMP
#pragma omp parallel num_threads(threads)
#endif
  {
#ifdef _OPENMP
    float *weights = p.weights + omp_get_thread_num() * p.weights_size;
#else
    float *weights = p.weights;
#endif
#ifdef _OPENMP
#pragma omp for schedule(dynamic)
#endif
    for (int32_t item = 0; item < tiles; ++item) {
      const int32_t frame = item * TILE, count = frames - frame < TILE ? frames - frame : TILE;
      float *guided = p.levels[0] + (int64_t)frame * channels, *free = guided + size;
      apply(&net->merge_x, segment->x + (int64_t)frame * net->mels, count, guided);
      for (int32_t row = 0; row < count; ++row)
        for (int32_t c = 0; c < channels; ++c) {
          const float merged = guided[row * channels + c];
          if (copies == 2) free[row * channels + c] = merged + net->unconditioned[c];
          guided[row * channels + c] = merged + segment->constant[(int64_t)(frame + row) * channels + c];
        }
    }
    for (int32_t layer = 0; layer < net->depth; ++layer) {
      float *x = p.levels[layer <= middle ? layer : 0], *y = p.levels[layer < middle ? layer + 1 : 0];
      const float *pushed = layer > middle ? p.levels[net->depth - layer] : 0;
      const int32_t first = layer == net->depth - 1 ? segment->first : 0, rows = frames - first;
      const int32_t row_tiles = (rows + TILE - 1) / TILE;
#ifdef _OPENMP
#pragma omp for schedule(dynamic)
#endif
      for (int32_t item = 0; item < copies * tiles; ++item) {
        const int32_t copy = item / tiles, frame = item % tiles * TILE;
        const int32_t count = frames - frame < TILE ? frames - frame : TILE;
        const int64_t at = copy * size + (int64_t)frame * channels;
        project(net, segment, layer, pushed ? pushed + at : 0, x + at, frame, count, p.queries + copy * size,
                p.keys + copy * keys_size, p.values + copy * size);
      }
#ifdef _OPENMP
#pragma omp for schedule(dynamic)
#endif
      for (int32_t item = 0; item < copies * row_tiles; ++item) {
        const int32_t copy = item / row_tiles, frame = first + item % row_tiles * TILE;
        const int32_t count = frames - frame < TILE ? frames - frame : TILE;
        const int64_t at = copy * size + (int64_t)frame * channels;
        float out[TILE * MAX_CHANNELS];
        transform(net, segment, layer, x + at, frame, count, p.queries + copy * size, p.keys + copy * keys_size,
                  p.values + copy * size, weights, out);
        memcpy(y + at, out, sizeof(float) * (size_t)(count * channels));
      }
    }
#ifdef _OPENMP
#pragma omp for schedule(dynamic)
#endif
    for (int32_t item = 0; item < copies * kept_tiles; ++item) {
      const int32_t copy = item / kept_tiles, row = item % kept_tiles * TILE, frame = segment->first + row;
      const int32_t count = kept - row < TILE ? kept - row : TILE;
      const int64_t at = (int64_t)row * net->wave_channels;
      join(net, segment, p.levels[0] + copy * size + (int64_t)frame * channels,
           segment->x + (int64_t)frame * net->mels, count, p.joined + copy * size + (int64_t)row * channels,
           p.waves[0] + copy * kept_size + at);
    }
    for (int32_t layer = 0; layer < net->gated_count; ++layer) {
#ifdef _OPENMP
#pragma omp for schedule(dynamic)
#endif
      for (int32_t item = 0; item < copies * wide_tiles; ++item) {
        const int32_t row = item % wide_tiles * WIDE, count = kept - row < WIDE ? kept - row : WIDE;
        const int64_t at = item / wide_tiles * kept_size;
        gate(net, segment, layer, p.waves[layer % 2] + at, kept - 1, row, count, p.waves[(layer + 1) % 2] + at,
             p.sum + at);
      }
    }
#ifdef _OPENMP
#pragma omp for schedule(dynamic)
#endif
    for (int32_t item = 0; item < copies * kept_tiles; ++item) {
      const int32_t copy = item / kept_tiles, row = item % kept_tiles * TILE;
      finish(net, segment, p.joined + copy * size + (int64_t)row * channels,
             p.sum + copy * kept_size + (int64_t)row * net->wave_channels, kept - row < TILE ? kept - row : TILE,
             p.velocity + ((int64_t)copy * kept + row) * net->mels);
    }
  }
  const int64_t values = (int64_t)kept * net->mels;
  const float guidance = segment->guidance;
  for (int64_t i = 0; i < values; ++i)
    velocity[i] = copies == 2 ? (1.0f + guidance) * p.velocity[i] - guidance * p.velocity[values + i] : p.velocity[i];
}
