/* The embedded voice's synthesis on a CPU: from the decoder's features and the pitch to samples (formulas:
 * torch/synthesis.py).
 *
 * All arrays are contiguous; floats are float32. No function allocates, fails or keeps state. synthesise keeps its
 * SYNTHESIS_ROWS frames on the stack, 750 KB in all. */
#include "fourier.h"
#include "matrix.h"
#include "norm.h"

enum {
  SYNTHESIS_ROWS = 24, /* frames whose parameters are predicted together: a multiple of MATRIX_ROWS and of LANES */
  SYNTHESIS_LEVEL_ROWS = (SYNTHESIS_ROWS + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS,
  SYNTHESIS_HEADS = 5, /* lh, theta, ln, lr, phi */
  SYNTHESIS_MAX_INPUTS = 1024,
  SYNTHESIS_MAX_OUTPUTS = 1024,
  SYNTHESIS_MAX_HOP = 512,
  OVERLAP = 4, /* frames that fall on a block: FOURIER_SIZE / hop */
  INSIDE = 0,  /* kinds of a block, as windows.py has them */
  FIRST = 1,
  SECOND_TO_LAST = 2,
  LAST = 3,
};

/* What there is room for: synthesis.py refuses larger sizes. */
const int32_t max_inputs = SYNTHESIS_MAX_INPUTS, max_outputs = SYNTHESIS_MAX_OUTPUTS, max_hop = SYNTHESIS_MAX_HOP;

/* The five heads and the tables. */
typedef struct {
  const Matrix *heads;        /* [SYNTHESIS_HEADS], of the same sizes and limit */
  const float *scale, *shift; /* [channels]: the norm before them */
  const float *source_window; /* [FOURIER_SIZE] */
  const float *window;        /* [FOURIER_SIZE] */
  const float *noise;         /* [table][2][FOURIER_BINS] */
  const float *turns;         /* [FOURIER_SIZE][2]: cosine and sine of 2 pi k / FOURIER_SIZE */
  const float *tapers;        /* [4 kinds][hop]: what undoes the windows' sum over a block */
  int32_t channels, hop;      /* hop is FOURIER_SIZE / OVERLAP */
  float epsilon;              /* of the norm of the features */
  float highest;              /* log magnitude */
} Synthesis;

/* Frames [start, start + rows) of a segment of `frames`. */
typedef struct {
  const float *features;     /* [rows][channels], not yet normalised */
  const float *source;       /* row r reads the FOURIER_SIZE samples from source + r * hop */
  const int64_t *noise_rows; /* [rows] */
  const float *before;       /* [OVERLAP - 1][FOURIER_SIZE]: the frames before `start`, those before the segment zero */
  float *kept;               /* the same for the frames that follow; may be `before` itself */
  float *blocks;             /* the blocks that are complete after these frames and were not before: [..][hop] */
  int32_t rows, start, frames;
} Spectra;

/* SYNTHESIS_ROWS frames, on the stack. */
typedef struct {
  float parameters[SYNTHESIS_HEADS][SYNTHESIS_ROWS * SYNTHESIS_MAX_OUTPUTS];
  float real[LANES][FOURIER_ROOM], imaginary[LANES][FOURIER_ROOM];
  float samples[OVERLAP - 1 + LANES][FOURIER_SIZE]; /* the last frames of the group before, and those of this one */
} Scratch;
_Static_assert(sizeof(Scratch) + 2 * SYNTHESIS_ROWS * SYNTHESIS_MAX_INPUTS + 2 * sizeof(Complex) * FOURIER_ROOM <=
                   STACK_BYTES,
               "the scratch of synthesise does not fit on the stack");

typedef struct {
  const float *weight; /* [hop]: place of a sample between the frames around it */
  int32_t hop;
  float rate_hz, lowest_hz, highest_hz;
} PulseSource;

/* The five parameters of `count` frames from `first` on: layer norm, then the heads. */
static void predict(const Synthesis *synthesis, const Spectra *frames, int32_t first, int32_t count, Scratch *s) {
  const Matrix *heads = synthesis->heads;
  int16_t levels[SYNTHESIS_LEVEL_ROWS * SYNTHESIS_MAX_INPUTS]; /* or bytes, in half of it */
  int32_t zeros[SYNTHESIS_ROWS];
  float scales[SYNTHESIS_ROWS], row_in[SYNTHESIS_MAX_INPUTS];
  const Quantised rows = {levels, scales, zeros};
  for (int32_t row = 0; row < count; ++row) {
    normalise_row(frames->features + (int64_t)(first + row) * synthesis->channels, synthesis->channels,
                  synthesis->epsilon, synthesis->scale, synthesis->shift, row_in);
    quantise_row(heads, row_in, synthesis->channels, row, &rows);
  }
  for (int head = 0; head < SYNTHESIS_HEADS; ++head) multiply(heads + head, &rows, count, s->parameters[head], 0);
}

/* The spectra of `lanes` frames of the source, at most LANES of them. */
static void analyse(const Synthesis *synthesis, const float *source, int32_t lanes, Scratch *s) {
  const float *window = synthesis->source_window, *from[LANES];
  Complex one[FOURIER_ROOM], other[FOURIER_ROOM];
  for (int32_t lane = 0; lane < LANES; ++lane)
    from[lane] = source + (int64_t)(lane < lanes ? lane : 0) * synthesis->hop;
  for (int n = 0; n < FOURIER_SIZE; n += LANES) {
    Floats samples[LANES];
    for (int lane = 0; lane < LANES; ++lane) samples[lane] = load(from[lane] + n);
    transpose(samples);
    for (int i = 0; i < LANES; ++i) samples[i] *= window[n + i];
    memcpy(one + n / 2, samples, sizeof samples);
  }
  transform(one, other, synthesis->turns);
  const Complex *z = other;
  for (int k = 0; k < FOURIER_ROOM; k += LANES) {
    Floats real[LANES], imaginary[LANES];
    for (int i = 0; i < LANES; ++i) {
      const Complex bin = real_bin(z, k + i < FOURIER_BINS ? k + i : 0, synthesis->turns);
      real[i] = bin.re, imaginary[i] = bin.im;
    }
    transpose(real), transpose(imaginary);
    for (int lane = 0; lane < LANES; ++lane)
      store(s->real[lane] + k, real[lane]), store(s->imaginary[lane] + k, imaginary[lane]);
  }
}

/* The spectrum of the source in lane `lane` to that of frame `row`. noise [2][FOURIER_BINS]. */
static void mix(const Synthesis *synthesis, const float *noise, int32_t row, int32_t lane, Scratch *s) {
  const int32_t at = row * synthesis->heads->outputs;
  const float *lh = s->parameters[0] + at, *theta = s->parameters[1] + at, *ln = s->parameters[2] + at;
  const float *lr = s->parameters[3] + at, *phi = s->parameters[4] + at, highest = synthesis->highest;
  float *restrict real = s->real[lane], *restrict imaginary = s->imaginary[lane];
  for (int k = 0; k < FOURIER_BINS; ++k) {
    float sine, cosine, free_sine, free_cosine;
    sincos_of(tanh_of(theta[k]), &sine, &cosine);
    sincos_of(phi[k] * 0.318309886f, &free_sine, &free_cosine);
    const float harmonic = exp_of(lh[k] < highest ? lh[k] : highest);
    const float noisy = exp_of(ln[k] < highest ? ln[k] : highest);
    const float loose = exp_of(lr[k] < highest ? lr[k] : highest);
    const float e_real = real[k], e_imaginary = imaginary[k];
    real[k] = harmonic * (cosine * e_real - sine * e_imaginary) + noisy * noise[k] + loose * free_cosine;
    imaginary[k] =
        harmonic * (cosine * e_imaginary + sine * e_real) + noisy * noise[FOURIER_BINS + k] + loose * free_sine;
  }
  imaginary[0] = imaginary[FOURIER_HALF] = 0; /* of a real signal */
}

/* The spectra of all lanes to windowed samples. */
static void invert(const Synthesis *synthesis, Scratch *s) {
  const float *turns = synthesis->turns, *window = synthesis->window;
  Complex one[FOURIER_ROOM], other[FOURIER_ROOM];
  for (int k = 0; k < FOURIER_ROOM; k += LANES) {
    Floats real[LANES], imaginary[LANES];
    for (int lane = 0; lane < LANES; ++lane)
      real[lane] = load(s->real[lane] + k), imaginary[lane] = load(s->imaginary[lane] + k);
    transpose(real), transpose(imaginary);
    for (int i = 0; i < LANES; ++i) other[k + i].re = real[i], other[k + i].im = imaginary[i];
  }
  /* Back: z = even + i odd of the bins; the inverse transform is the transform with re and im exchanged. */
  for (int k = 0; k < FOURIER_HALF; ++k) {
    const Complex a = other[k], b = other[FOURIER_HALF - k], mirror = {b.re, -b.im};
    const float conjugate[2] = {turns[2 * k], -turns[2 * k + 1]};
    const Complex odd = turned(times(minus(a, mirror), conjugate)), even = plus(a, mirror);
    one[k].im = even.re - odd.re, one[k].re = even.im - odd.im;
  }
  transform(one, other, turns);
  const Complex *z = other;
  for (int n = 0; n < FOURIER_SIZE; n += LANES) {
    Floats samples[LANES];
    for (int i = 0; i < LANES; i += 2) {
      samples[i] = z[(n + i) / 2].im * (window[n + i] / FOURIER_SIZE);
      samples[i + 1] = z[(n + i) / 2].re * (window[n + i + 1] / FOURIER_SIZE);
    }
    transpose(samples);
    for (int lane = 0; lane < LANES; ++lane) store(s->samples[OVERLAP - 1 + lane] + n, samples[lane]);
  }
}

/* Block frame - 2, whose last part is the first one of `frame`: recent[k] is frame - k. Always the same order of the
 * sum, so that it does not depend on the windows. */
static void add(const Synthesis *synthesis, const float *const recent[OVERLAP], int32_t block, int32_t frames,
                float *to) {
  const int32_t hop = synthesis->hop;
  int kind = block ? INSIDE : FIRST;
  if (block == frames - 2) kind = SECOND_TO_LAST;
  if (block == frames - 1) kind = LAST;
  const float *taper = synthesis->tapers + kind * hop, *a = recent[0], *b = recent[1] + hop;
  const float *c = recent[2] + 2 * hop, *d = recent[3] + 3 * hop;
  for (int32_t i = 0; i < hop; ++i) {
    const float sum = (((a[i] + b[i]) + c[i]) + d[i]) * taper[i];
    to[i] = sum < -1.0f ? -1.0f : sum > 1.0f ? 1.0f : sum;
  }
}

/* Features to samples. */
void synthesise(const Synthesis *synthesis, const Spectra *frames) {
  static const float nothing[FOURIER_SIZE];
  const int32_t hop = synthesis->hop, end = frames->frames;
  Scratch s;
  float *to = frames->blocks;
  memcpy(s.samples, frames->before, sizeof(float) * (OVERLAP - 1) * FOURIER_SIZE);
  for (int32_t first = 0; first < frames->rows; first += LANES) {
    const int32_t row = first % SYNTHESIS_ROWS, left = frames->rows - first, lanes = left < LANES ? left : LANES;
    if (row == 0) predict(synthesis, frames, first, left < SYNTHESIS_ROWS ? left : SYNTHESIS_ROWS, &s);
    analyse(synthesis, frames->source + (int64_t)first * hop, lanes, &s);
    for (int32_t lane = 0; lane < lanes; ++lane)
      mix(synthesis, synthesis->noise + frames->noise_rows[first + lane] * FOURIER_BINS * 2, row + lane, lane, &s);
    invert(synthesis, &s);
    for (int32_t lane = 0; lane < lanes; ++lane) {
      const int32_t block = frames->start + first + lane - 2;
      if (block < 0) continue;
      const float *const recent[OVERLAP] = {s.samples[lane + 3], s.samples[lane + 2], s.samples[lane + 1],
                                            s.samples[lane]};
      add(synthesis, recent, block, end, to);
      to += hop;
    }
    memmove(s.samples, s.samples[lanes], sizeof(float) * (OVERLAP - 1) * FOURIER_SIZE);
  }
  if (frames->start + frames->rows == end) {
    const float *const second_to_last[OVERLAP] = {nothing, s.samples[2], s.samples[1], s.samples[0]};
    const float *const last[OVERLAP] = {nothing, nothing, s.samples[2], s.samples[1]};
    add(synthesis, second_to_last, end - 2, end, to);
    add(synthesis, last, end - 1, end, to + hop);
  }
  memcpy(frames->kept, s.samples, sizeof(float) * (OVERLAP - 1) * FOURIER_SIZE);
}

/* Cycles so far, in Hz, at each of `count` samples whose pitch goes from `from` to `to` by weight, of which `weights`
 * are the running sums. A pitch below the lowest counts as it. */
static void run_cycles(const PulseSource *source, float from, float to, const float *hz, const float *weights,
                       int32_t count, float begun, float *cycles) {
  const float lowest_hz = source->lowest_hz;
  if (from >= lowest_hz && to >= lowest_hz) {
    for (int32_t i = 0; i < count; ++i) cycles[i] = begun + ((float)(i + 1) * from + weights[i] * (to - from));
    return;
  }
  float run = begun;
  for (int32_t i = 0; i < count; ++i) cycles[i] = run += hz[i] > lowest_hz ? hz[i] : lowest_hz;
}

/* Pulses of a segment: f0 [frames] in Hz to blocks [frames + 3][hop], of which two lead and one trails as mirrors;
 * frames at least 3. */
void pulses(const PulseSource *source, const float *f0, int32_t frames, float *blocks) {
  const int32_t hop = source->hop, half = hop / 2;
  const float *weight = source->weight;
  const float rate_hz = source->rate_hz, lowest_hz = source->lowest_hz, highest_hz = source->highest_hz;
  float *samples = blocks + 2 * (int64_t)hop, hz[SYNTHESIS_MAX_HOP], cycles[SYNTHESIS_MAX_HOP];
  float weights[SYNTHESIS_MAX_HOP];
  for (int32_t i = 0; i < hop; ++i) weights[i] = weight[i] + (i % half ? weights[i - 1] : 0.0f);
  double start = 0;
  for (int32_t frame = 0; frame < frames; ++frame) {
    const float before = f0[frame ? frame - 1 : 0], here = f0[frame],
                after = f0[frame + 1 < frames ? frame + 1 : frame];
    float *to = samples + (int64_t)frame * hop;
    if (before <= lowest_hz && here <= lowest_hz && after <= lowest_hz) {
      memset(to, 0, sizeof(float) * (size_t)hop);
      start += (double)lowest_hz * hop / rate_hz;
      continue;
    }
    for (int32_t i = 0; i < half; ++i) hz[i] = before + weight[i] * (here - before);
    for (int32_t i = half; i < hop; ++i) hz[i] = here + weight[i] * (after - here);
    run_cycles(source, before, here, hz, weights, half, 0, cycles);
    run_cycles(source, here, after, hz + half, weights + half, hop - half, cycles[half - 1], cycles + half);
    const float phase = (float)(start - floor(start));
    for (int32_t i = 0; i < hop; ++i) {
      const float floor_hz = hz[i] > lowest_hz ? hz[i] : lowest_hz;
      float turns = cycles[i] / rate_hz + phase, sine, cosine, below, unused;
      turns -= floorf(turns);
      const float harmonics = floorf(highest_hz / floor_hz) + 0.5f;
      sincos_of(turns, &below, &unused); /* turns / 2 whole turns */
      sincos_of(2.0f * harmonics * turns, &sine, &cosine);
      const int peak = fabsf(2.0f * below) <= 2e-3f;
      const float wave = (peak ? harmonics : sine / (peak ? 1.0f : 2.0f * below)) - 0.5f;
      to[i] = hz[i] > lowest_hz ? wave : 0.0f;
    }
    start += (double)cycles[hop - 1] / rate_hz;
  }
  const int64_t count = (int64_t)frames * hop;
  for (int32_t i = 0; i < 2 * hop; ++i) blocks[i] = samples[2 * hop - i];
  for (int32_t i = 0; i < hop; ++i) samples[count + i] = samples[count - 2 - i];
}
