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
  ROWS = 6,    /* rows of a product held in registers */
  COLUMNS = 24, /* most columns of a panel */
  DEPTH = 192, /* inputs of a partial sum */
  GROUP = 2,   /* panels whose products are kept */
};

/* vocoder_kernels.py fills this in. */
typedef struct {
  const float *weight;            /* [outputs / columns][points][pieces * inputs][columns] */
  const float *bias;              /* [outputs] */
  const float *turns, *amplitude; /* [inputs]: the snake's frequency / pi and amplitude, or null for no snake */
  const float *filter;            /* [TAPS] of the snake */
  int32_t inputs, outputs, columns, taps, pieces, dilation;
  int32_t first; /* frame of the first tap, from that of the output */
} Layer;

/* Where outputs go: y[t * stride + c] = share * (product + bias + residual[t * outputs + c]) (+ y if more). */
typedef struct {
  const float *residual;
  float *y;
  int64_t stride;
  float share;
  int32_t more;
} Target;

/* to [rows][vectors * LANES] (+)= from [rows][depth] * weight [depth][vectors * LANES] */
INLINE void product(const float *weight, const float *const from[ROWS], int32_t depth, int rows, int vectors, int more,
                    float *to) {
  Floats sums[ROWS][COLUMNS / LANES];
#pragma GCC unroll 6
  for (int row = 0; row < rows; ++row)
#pragma GCC unroll 3
    for (int v = 0; v < vectors; ++v) sums[row][v] = splat(0.0f);
  for (int32_t k = 0; k < depth; ++k, weight += vectors * LANES) {
    Floats line[COLUMNS / LANES];
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

/* to [phases * tiles][vectors * LANES]; row r of a phase reads the depth numbers from line r of its `lines`. Sums are
 * in parts of DEPTH, whose weights stay in the first cache, and which err less than long ones. */
INLINE void product_of_phases(const float *weight, const float *x, int32_t depth, int32_t inputs, int32_t phases,
                              int32_t tiles, int32_t lines, int rows, int vectors, float *to) {
  const int32_t last = phases * tiles - 1;
  for (int32_t k = 0; k < depth; k += DEPTH, weight += DEPTH * vectors * LANES)
    for (int32_t first = 0; first <= last; first += rows) {
      const float *from[ROWS];
      for (int row = 0; row < rows; ++row) {
        const int32_t at = first + row < last ? first + row : last;
        from[row] = x + ((int64_t)(at / tiles) * lines + at % tiles) * inputs + k;
      }
      product(weight, from, depth - k < DEPTH ? depth - k : DEPTH, rows, vectors, k > 0,
              to + (int64_t)first * vectors * LANES);
    }
}

static void multiply(const float *weight, const float *x, int32_t depth, int32_t inputs, int32_t phases, int32_t tiles,
                     int32_t lines, int32_t columns, float *to) {
  switch (columns) {
    case 24: product_of_phases(weight, x, depth, inputs, phases, tiles, lines, 4, 3, to); break;
    case 16: product_of_phases(weight, x, depth, inputs, phases, tiles, lines, 6, 2, to); break;
    default: product_of_phases(weight, x, depth, inputs, phases, tiles, lines, 6, 1, to);
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

/* Outputs start..stop of one panel of columns, from products [points][size][columns]. */
INLINE void finish(const Layer *layer, const Target *target, const float *products, int64_t size, int32_t tiles,
                   int32_t start, int32_t stop, int32_t column, int taps) {
  const int32_t phases = layer->dilation, columns = layer->columns;
  const int inner = taps > 4 ? 4 : taps;
  for (int32_t phase = 0; phase < phases; ++phase)
    for (int32_t tile = 0; tile < tiles; ++tile)
      for (int32_t c = 0; c < columns; c += LANES) {
        const float *from = products + ((int64_t)phase * tiles + tile) * columns + c;
        const Floats bias = load(layer->bias + column + c);
        Floats in[2][POINTS];
        to_tiles(from, size * columns, taps, in);
#pragma GCC unroll 8
        for (int output = 0; output < outputs_of(taps); ++output) {
          const int32_t t = start + phase + phases * (tile * outputs_of(taps) + output);
          if (t >= stop) break;
          Floats sum = bias;
#pragma GCC unroll 7
          for (int point = 0; point < (inner == 1 ? 1 : TILE + inner - 1); ++point)
            sum = add_scaled(sum, out_of(inner, output % TILE, point), in[output / TILE][point]);
          float *to = target->y + t * target->stride + column + c;
          if (target->residual) sum += load(target->residual + (int64_t)t * layer->outputs + column + c);
          sum *= splat(target->share);
          store(to, target->more ? load(to) + sum : sum);
        }
      }
}

INLINE void convolve_chunk(const Layer *layer, const float *x, int32_t frames, int32_t start, int32_t stop,
                           const Target *target, float *scratch, int taps) {
  const int32_t phases = layer->dilation, each = phases * outputs_of(taps), tiles = (stop - start + each - 1) / each;
  const int32_t lines = tiles + layer->pieces - 1, depth = layer->pieces * layer->inputs, columns = layer->columns;
  const int32_t heard = each * lines + phases * (taps - 1);
  const int64_t size = phases * tiles + ROWS - 1, point_size = (int64_t)phases * lines * layer->inputs;
  float *active = scratch, *points = active + (int64_t)heard * layer->inputs;
  float *products = points + points_of(taps) * point_size;
  activate(layer->filter, layer->turns, layer->amplitude, x, frames, layer->inputs, start + layer->first, heard,
           active);
  transform(active, layer->inputs, phases, lines, taps, points);
  /* A point's inputs stay in the cache for the panels of a group. */
  const int64_t panel = (int64_t)depth * columns, block = size * columns;
  const float *weight = layer->weight;
  for (int32_t column = 0; column < layer->outputs; column += GROUP * columns) {
    const int32_t left = (layer->outputs - column) / columns, group = left < GROUP ? left : GROUP;
    for (int32_t point = 0; point < points_of(taps); ++point)
      for (int32_t index = 0, at = point; index < group; ++index, at += points_of(taps))
        multiply(weight + at * panel, points + point * point_size, depth, layer->inputs, phases, tiles, lines, columns,
                 products + at * block);
    for (int32_t index = 0; index < group; ++index)
      finish(layer, target, products + index * points_of(taps) * block, size, tiles, start, stop,
             column + index * columns, taps);
    weight += group * points_of(taps) * panel;
  }
}

/* y = the layer of x [frames][inputs], as Target says, in chunks of `chunk` frames, a multiple of tile * dilation.
 * residual may be null or y itself. scratch [threads][scratch_each]. */
void convolve(const Layer *layer, const float *x, int32_t frames, int32_t chunk, const float *residual, float share,
              int32_t more, float *y, int64_t stride, int32_t threads, float *scratch, int64_t scratch_each) {
  const Target target = {residual, y, stride, share, more};
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (int32_t start = 0; start < frames; start += chunk) {
    const int32_t stop = frames - start < chunk ? frames : start + chunk;
    float *own = scratch + omp_get_thread_num() * scratch_each;
    switch (layer->taps) {
      case 12: convolve_chunk(layer, x, frames, start, stop, &target, own, 12); break;
      case 8: convolve_chunk(layer, x, frames, start, stop, &target, own, 8); break;
      case 4: convolve_chunk(layer, x, frames, start, stop, &target, own, 4); break;
      case 3: convolve_chunk(layer, x, frames, start, stop, &target, own, 3); break;
      case 2: convolve_chunk(layer, x, frames, start, stop, &target, own, 2); break;
      default: convolve_chunk(layer, x, frames, start, stop, &target, own, 1);
    }
  }
}
