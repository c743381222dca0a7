/* Convolutions of the vocoder on a CPU, each after its anti-aliased snake: one call a layer.
 *
 * A layer runs in chunks of frames, each by one thread: its snake, then minimal filtering (filtering.h) along time.
 * The frames of a dilated convolution fall into `dilation` phases that never meet; in each, tiles of outputs are made
 * from overlapping windows of inputs. A point of all tiles is one product of matrices, whose rows are the channels of
 * a tile. A kernel of more taps than a scheme has is cut into pieces as long as a tile: a row then goes on into the
 * tiles after it. Released sizes take 1.5, 2.6 and 3.5 products an output for their 3, 7 and 11 taps.
 *
 * Arrays are contiguous, [frames][channels], channels a multiple of LANES; floats are float32. Nothing allocates,
 * fails or keeps state. Outputs depend neither on the chunks nor on the threads: a chunk begins at a multiple of
 * tile * dilation frames. */
#include "filtering.h"
#include "snake.h"

#ifdef _OPENMP
#include <omp.h>
#else
static int omp_get_thread_num(void) { return 0; }
#endif

enum {
  VOCODER_ROWS = 6,     /* rows of a product held in registers */
  VOCODER_COLUMNS = 24, /* most columns of a panel */
  VOCODER_DEPTH = 192,  /* inputs of a partial sum */
  VOCODER_PANELS = 2,   /* panels whose products are kept */
  /* Bound of what all functions here together hold on the stack of a thread; a test checks it. */
  VOCODER_STACK_BYTES = 64 * 1024,
};

/* convolution.py fills these in. */
typedef struct {
  const float *weight; /* [outputs / columns][points][pieces * inputs][columns] */
  const float *bias;   /* [outputs] */
  Snake snake;         /* of the inputs, before the convolution */
  int32_t inputs, outputs, columns, taps, pieces, dilation;
  int32_t first; /* frame of the first tap, from that of the output */
} Layer;

/* y[t * stride + c] = share * (convolution of x + bias + residual[t * outputs + c]) (+ y if more). */
typedef struct {
  const float *x;        /* [frames][inputs] */
  const float *residual; /* [frames][outputs]; null, or y itself */
  float *y, *scratch;
  int64_t stride, scratch_stride; /* floats of a row of y, of a thread's scratch */
  int32_t frames, chunk;          /* chunk: frames that a thread makes at a time, a multiple of tile * dilation */
  int32_t more, threads;
  float share;
} Call;

/* The inputs of a product: row r, tile r % tiles of phase r / tiles, reads `depth` floats from line
 * r / tiles * lines + r % tiles of x [phases * lines][inputs]. */
typedef struct {
  const float *x;
  int32_t depth, inputs, phases, tiles, lines;
} Lines;

/* Outputs start..stop, in tiles of each phase; the products of a point have `rows` rows. */
typedef struct {
  int32_t start, stop, tiles;
  int64_t rows;
} Chunk;

/* to [rows][vectors * LANES] (+)= from [rows][depth] * weight [depth][vectors * LANES] */
INLINE void product(const float *weight, const float *const from[VOCODER_ROWS], int32_t depth, int rows, int vectors,
                    int more, float *to) {
  Floats sums[VOCODER_ROWS][VOCODER_COLUMNS / LANES];
#pragma GCC unroll 6
  for (int row = 0; row < rows; ++row)
#pragma GCC unroll 3
    for (int v = 0; v < vectors; ++v) sums[row][v] = splat(0.0f);
  for (int32_t k = 0; k < depth; ++k, weight += vectors * LANES) {
    Floats line[VOCODER_COLUMNS / LANES];
#pragma GCC unroll 3
    for (int v = 0; v < vectors; ++v) line[v] = load(weight + v * LANES);
#pragma GCC unroll 6
    for (int row = 0; row < rows; ++row) {
      const Floats x = splat(from[row][k]);
#pragma GCC unroll 3
      for (int v = 0; v < vectors; ++v) sums[row][v] = multiply_add(x, line[v], sums[row][v]);
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < rows; ++row)
#pragma GCC unroll 3
    for (int v = 0; v < vectors; ++v) {
      float *const at = to + (row * vectors + v) * LANES;
      store(at, more ? load(at) + sums[row][v] : sums[row][v]);
    }
}

/* to [phases * tiles][vectors * LANES] = the lines times weight [depth][vectors * LANES]. Sums are in parts of
 * VOCODER_DEPTH, whose weights stay in the first cache, and which err less than long ones. */
INLINE void product_of_lines(const float *weight, const Lines *lines, int rows, int vectors, float *to) {
  const int32_t last = lines->phases * lines->tiles - 1, depth = lines->depth;
  for (int32_t k = 0; k < depth; k += VOCODER_DEPTH, weight += VOCODER_DEPTH * vectors * LANES)
    for (int32_t first = 0; first <= last; first += rows) {
      const float *from[VOCODER_ROWS];
      for (int row = 0; row < rows; ++row) {
        const int32_t at = first + row < last ? first + row : last;
        const int64_t line = (int64_t)(at / lines->tiles) * lines->lines + at % lines->tiles;
        from[row] = lines->x + line * lines->inputs + k;
      }
      product(weight, from, depth - k < VOCODER_DEPTH ? depth - k : VOCODER_DEPTH, rows, vectors, k > 0,
              to + (int64_t)first * vectors * LANES);
    }
}

static void multiply(const float *weight, const Lines *lines, int32_t columns, float *to) {
  switch (columns) {
    case 24: product_of_lines(weight, lines, 4, 3, to); break;
    case 16: product_of_lines(weight, lines, 6, 2, to); break;
    default: product_of_lines(weight, lines, 6, 1, to);
  }
}

/* points [points][phases * lines][channels] of x [..][channels]: line l of phase p starts at frame
 * p + phases * tile * l. */
INLINE void transform(const float *x, int32_t channels, int32_t phases, int32_t lines, int taps, float *points) {
  const int64_t step = (int64_t)phases * channels, size = (int64_t)phases * lines * channels;
  for (int32_t phase = 0; phase < phases; ++phase)
    for (int32_t line = 0; line < lines; ++line) {
      const float *from = x + (int64_t)phase * channels + line * outputs_of(taps) * step;
      float *to = points + ((int64_t)phase * lines + line) * channels;
      for (int32_t c = 0; c < channels; c += LANES) to_points(from + c, step, taps, to + c, size);
    }
}

/* Outputs of a chunk for one panel of columns, from products [points][rows][columns]. */
INLINE void finish(const Layer *layer, const Call *call, const Chunk *chunk, const float *products, int32_t column,
                   int taps) {
  const int32_t phases = layer->dilation, columns = layer->columns, tiles = chunk->tiles;
  const int inner = taps > 4 ? 4 : taps;
  for (int32_t phase = 0; phase < phases; ++phase)
    for (int32_t tile = 0; tile < tiles; ++tile)
      for (int32_t c = 0; c < columns; c += LANES) {
        const float *from = products + ((int64_t)phase * tiles + tile) * columns + c;
        const Floats bias = load(layer->bias + column + c);
        Floats in[2][FILTER_POINTS];
        to_tiles(from, chunk->rows * columns, taps, in);
#pragma GCC unroll 8
        for (int output = 0; output < outputs_of(taps); ++output) {
          const int32_t t = chunk->start + phase + phases * (tile * outputs_of(taps) + output);
          if (t >= chunk->stop) break;
          Floats sum = bias;
#pragma GCC unroll 7
          for (int point = 0; point < (inner == 1 ? 1 : FILTER_TILE + inner - 1); ++point)
            sum = add_scaled(sum, out_of(inner, output % FILTER_TILE, point), in[output / FILTER_TILE][point]);
          float *to = call->y + t * call->stride + column + c;
          if (call->residual) sum += load(call->residual + (int64_t)t * layer->outputs + column + c);
          sum *= splat(call->share);
          store(to, call->more ? load(to) + sum : sum);
        }
      }
}

/* Outputs of call->chunk frames from `start` on, or as many as are left. */
INLINE void convolve_chunk(const Layer *layer, const Call *call, int32_t start, float *scratch, int taps) {
  const int32_t phases = layer->dilation, each = phases * outputs_of(taps), columns = layer->columns;
  const int32_t stop = call->frames - start < call->chunk ? call->frames : start + call->chunk;
  const int32_t tiles = (stop - start + each - 1) / each, lines = tiles + layer->pieces - 1;
  const int32_t reach = each * lines + phases * (taps - 1), depth = layer->pieces * layer->inputs;
  const int64_t point_size = (int64_t)phases * lines * layer->inputs;
  const Chunk chunk = {start, stop, tiles, phases * tiles + VOCODER_ROWS - 1};
  const Signal signal = {call->x, call->frames, layer->inputs};
  float *active = scratch, *points = active + (int64_t)reach * layer->inputs;
  float *products = points + points_of(taps) * point_size;
  activate(&layer->snake, &signal, start + layer->first, reach, active);
  transform(active, layer->inputs, phases, lines, taps, points);
  /* A point's inputs stay in the cache for the panels of a group. */
  const int64_t panel = (int64_t)depth * columns, block = chunk.rows * columns;
  const float *weight = layer->weight;
  for (int32_t column = 0; column < layer->outputs; column += VOCODER_PANELS * columns) {
    const int32_t left = (layer->outputs - column) / columns, group = left < VOCODER_PANELS ? left : VOCODER_PANELS;
    for (int32_t point = 0; point < points_of(taps); ++point) {
      const Lines inputs = {points + point * point_size, depth, layer->inputs, phases, tiles, lines};
      for (int32_t index = 0, at = point; index < group; ++index, at += points_of(taps))
        multiply(weight + at * panel, &inputs, columns, products + at * block);
    }
    for (int32_t index = 0; index < group; ++index)
      finish(layer, call, &chunk, products + index * points_of(taps) * block, column + index * columns, taps);
    weight += group * points_of(taps) * panel;
  }
}

/* Runs a call: one thread a chunk. */
void convolve(const Layer *layer, const Call *call) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(call->threads)
  for (int32_t start = 0; start < call->frames; start += call->chunk) {
    float *own = call->scratch + omp_get_thread_num() * call->scratch_stride;
    switch (layer->taps) {
      case 12: convolve_chunk(layer, call, start, own, 12); break;
      case 8: convolve_chunk(layer, call, start, own, 8); break;
      case 4: convolve_chunk(layer, call, start, own, 4); break;
      case 3: convolve_chunk(layer, call, start, own, 3); break;
      case 2: convolve_chunk(layer, call, start, own, 2); break;
      default: convolve_chunk(layer, call, start, own, 1);
    }
  }
}
