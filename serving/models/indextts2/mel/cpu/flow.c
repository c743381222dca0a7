/* The velocity estimator of the flow for one segment on a CPU: dit.py, wavenet.py and estimator.py in one call.
 *
 * A segment is one sequence, or two with guidance: the second reads neither prompt nor text. Products of matrices and
 * of attention are of 16-bit integers, everything else float32. Threads share the frames of a layer in tiles; nothing
 * that a frame's result is summed from depends on their number. The last tile of a sequence may be short: those of both
 * sequences come last, so that the threads end together.
 *
 * All arrays are contiguous, [frames][channels]. Nothing here allocates, fails or keeps state. */
#include "transformer.h"
#include "wavenet.h"

#ifdef _OPENMP
#include <omp.h>
#else
static int omp_get_thread_num(void) { return 0; }
#endif

/* Scratch of one call, carved from one piece of memory; see plan(). */
typedef struct {
  float *skips[16]; /* the shallow half's outputs, for the deep half; skips[0] is also what the layers work on */
  Head heads[2][FLOW_HEADS];
  float *joined, *waves[2], *sum, *velocity, *work;
  int64_t work_size; /* of a thread */
} Plan;

enum { CARVED = 16 }; /* floats of a line of the cache, where each piece begins */

static inline float *carve(float **memory, int64_t count) {
  float *piece = *memory;
  *memory += (count + CARVED - 1) / CARVED * CARVED;
  return piece;
}

static inline int16_t *carve_levels(float **memory, int64_t count) { return (int16_t *)carve(memory, (count + 1) / 2); }

/* Cut a thread's own from memory (which may be null); returns the floats it takes. */
static int64_t plan_work(int32_t frames, float *memory, Workspace *work) {
  float *at = memory;
  work->attention = carve(&at, attend_scratch(frames));
  const int64_t projected = FLOW_TILE * 3, convolved = WAVENET_SPAN * 2;
  work->wide = carve(&at, (projected > convolved ? projected : convolved) * FLOW_CHANNELS);
  work->broader = carve(&at, (int64_t)FLOW_TILE * 2 * FLOW_CHANNELS);
  work->narrow = carve(&at, (int64_t)FLOW_TILE * FLOW_CHANNELS);
  work->rows.levels = carve_levels(&at, row_levels(2 * FLOW_CHANNELS));
  work->hidden.levels = carve_levels(&at, row_levels(FLOW_HIDDEN));
  return at - memory;
}

/* Cut scratch for both sequences of `frames` frames; returns the floats it takes (memory may be null). */
static int64_t plan(const Estimator *net, int32_t frames, int32_t threads, float *memory, Plan *p) {
  float *at = memory;
  const int64_t rows = 2 * (int64_t)frames;
  for (int32_t half = 0; half <= net->depth / 2; ++half) p->skips[half] = carve(&at, rows * net->channels);
  const int32_t size = net->channels / net->heads, padded = padded_keys(frames);
  for (int copy = 0; copy < 2; ++copy)
    for (int32_t head = 0; head < net->heads; ++head)
      p->heads[copy][head] = (Head){
          .queries = carve_levels(&at, (int64_t)frames * size),
          .keys = carve_levels(&at, (int64_t)padded * size),
          .values = carve_levels(&at, (int64_t)padded * size),
          .query_scale = carve(&at, frames),
          .key_scale = carve(&at, padded),
          .value_scale = carve(&at, padded),
      };
  p->joined = carve(&at, rows * net->channels);
  for (int buffer = 0; buffer < 2; ++buffer) p->waves[buffer] = carve(&at, rows * net->wave_channels);
  p->sum = carve(&at, rows * net->wave_channels);
  p->velocity = carve(&at, rows * net->mels);
  Workspace any;
  p->work_size = plan_work(frames, 0, &any);
  p->work = carve(&at, threads * p->work_size);
  return at - memory;
}

/* floats of scratch that estimate needs for segments of up to `frames` frames */
int64_t scratch_size(const Estimator *net, int32_t frames, int32_t threads) {
  Plan p;
  return plan(net, frames, threads, 0, &p);
}

/* The transformer's output to the WaveNet's input, for a tile of kept frames. */
static void join(const Estimator *net, const Segment *segment, const float *h, const float *x, int32_t count,
                 Workspace *work, float *joined, float *wave) {
  const int32_t channels = net->channels;
  const int64_t last = 2 * (int64_t)net->depth * channels;
  float *const rows = work->narrow, *const other = work->broader;
  for (int32_t row = 0; row < count; ++row)
    modulated_norm(h + row * channels, channels, net->norm_epsilon, segment->norm_scale + last,
                   segment->norm_shift + last, rows + row * channels);
  apply(&net->join_hidden, rows, count, joined);
  apply(&net->join_x, x, count, other);
  for (int32_t c = 0; c < count * channels; ++c) joined[c] += other[c];
  apply(&net->wavenet_in, joined, count, wave);
}

/* The WaveNet's output to velocities, for a tile. */
static void finish(const Estimator *net, const Segment *segment, const float *joined, const float *sum, int32_t count,
                   Workspace *work, float *velocity) {
  const int32_t channels = net->wave_channels;
  float *const rows = work->narrow, *const other = work->broader;
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
  const int32_t copies = segment->guidance != 0.0f ? 2 : 1, frames = segment->frames, kept = frames - segment->first;
  const int32_t channels = net->channels, middle = net->depth / 2;
  const int32_t tiles = tiles_of(frames, FLOW_TILE), kept_tiles = tiles_of(kept, FLOW_TILE);
  const int32_t spans = tiles_of(kept, WAVENET_SPAN);
  const int64_t size = (int64_t)frames * channels;
  const int64_t kept_size = (int64_t)kept * net->wave_channels;
#pragma omp parallel num_threads(threads)
  {
    Workspace work;
    plan_work(frames, p.work + omp_get_thread_num() * p.work_size, &work);
    begin_products();
#pragma omp for schedule(dynamic)
    for (int32_t item = 0; item < tiles; ++item) {
      const Tile tile = tile_of(item, FLOW_TILE, 0, frames);
      float *guided = p.skips[0] + (int64_t)tile.frame * channels, *free = guided + size;
      apply(&net->merge_x, segment->x + (int64_t)tile.frame * net->mels, tile.count, guided);
      for (int32_t row = 0; row < tile.count; ++row)
        for (int32_t c = 0; c < channels; ++c) {
          const float merged = guided[row * channels + c];
          if (copies == 2) free[row * channels + c] = merged + net->unconditioned[c];
          guided[row * channels + c] = merged + segment->constant[(int64_t)(tile.frame + row) * channels + c];
        }
    }
    for (int32_t layer = 0; layer < net->depth; ++layer) {
      float *x = p.skips[layer <= middle ? layer : 0], *y = p.skips[layer < middle ? layer + 1 : 0];
      const float *pushed = layer > middle ? p.skips[net->depth - layer] : 0;
      const int32_t first = layer == net->depth - 1 ? segment->first : 0;
      const int32_t row_tiles = tiles_of(frames - first, FLOW_TILE);
#pragma omp for schedule(dynamic)
      for (int32_t item = 0; item < copies * tiles; ++item) {
        const int32_t copy = item % copies;
        const Tile tile = tile_of(item / copies, FLOW_TILE, 0, frames);
        const int64_t at = copy * size + (int64_t)tile.frame * channels;
        project(net, segment, layer, tile, pushed ? pushed + at : 0, x + at, p.heads[copy], &work);
      }
#pragma omp for schedule(dynamic)
      for (int32_t item = 0; item < copies * row_tiles; ++item) {
        const int32_t copy = item % copies;
        const Tile tile = tile_of(item / copies, FLOW_TILE, first, frames);
        const int64_t at = copy * size + (int64_t)tile.frame * channels;
        transform(net, segment, layer, tile, x + at, p.heads[copy], &work, y + at);
      }
    }
#pragma omp for schedule(dynamic)
    for (int32_t item = 0; item < copies * kept_tiles; ++item) {
      const int32_t copy = item % copies;
      const Tile tile = tile_of(item / copies, FLOW_TILE, 0, kept);
      const int64_t frame = segment->first + tile.frame;
      join(net, segment, p.skips[0] + copy * size + frame * channels, segment->x + frame * net->mels, tile.count, &work,
           p.joined + copy * size + (int64_t)tile.frame * channels,
           p.waves[0] + copy * kept_size + (int64_t)tile.frame * net->wave_channels);
    }
    for (int32_t layer = 0; layer < net->gated_count; ++layer) {
#pragma omp for schedule(dynamic)
      for (int32_t item = 0; item < copies * spans; ++item) {
        const int64_t at = item % copies * kept_size;
        const Wave wave = {p.waves[layer % 2] + at, p.waves[(layer + 1) % 2] + at, p.sum + at, kept - 1};
        gate(net, segment, layer, tile_of(item / copies, WAVENET_SPAN, 0, kept), &wave, &work);
      }
    }
#pragma omp for schedule(dynamic)
    for (int32_t item = 0; item < copies * kept_tiles; ++item) {
      const int32_t copy = item % copies;
      const Tile tile = tile_of(item / copies, FLOW_TILE, 0, kept);
      finish(net, segment, p.joined + copy * size + (int64_t)tile.frame * channels,
             p.sum + copy * kept_size + (int64_t)tile.frame * net->wave_channels, tile.count, &work,
             p.velocity + ((int64_t)copy * kept + tile.frame) * net->mels);
    }
    end_products();
  }
  const int64_t values = (int64_t)kept * net->mels;
  const float guidance = segment->guidance;
  for (int64_t i = 0; i < values; ++i)
    velocity[i] = copies == 2 ? (1.0f + guidance) * p.velocity[i] - guidance * p.velocity[values + i] : p.velocity[i];
}
