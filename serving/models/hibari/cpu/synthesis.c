/* The embedded voice's synthesis on a CPU: from the decoder's features and the pitch to samples (formulas:
 * torch/synthesis.py).
 *
 * All arrays are contiguous; floats are float32. No function allocates, fails or keeps state. synthesise keeps its
 * SYNTHESIS_ROWS frames on the stack, 700 KB in all. */
#include "fourier.h"
#include "matrix.h"

enum {
  SYNTHESIS_ROWS = 24, /* frames synthesised together: a multiple of MATRIX_ROWS and of LANES */
  SYNTHESIS_HEADS = 5, /* lh, theta, ln, lr, phi */
  SYNTHESIS_MAX_INPUTS = 1024,
  SYNTHESIS_MAX_OUTPUTS = 1024,
  SYNTHESIS_MAX_HOP = 512,
};

/* What there is room for: synthesis.py refuses larger sizes. */
const int32_t max_inputs = SYNTHESIS_MAX_INPUTS, max_outputs = SYNTHESIS_MAX_OUTPUTS, max_hop = SYNTHESIS_MAX_HOP;

/* The five heads and the tables. */
typedef struct {
  const Matrix *heads;        /* [SYNTHESIS_HEADS], of the same sizes and limit */
  const float *source_window; /* [FOURIER_SIZE] */
  const float *window;        /* [FOURIER_SIZE] */
  const float *noise;         /* [table][2][FOURIER_BINS] */
  const float *turns;         /* [FOURIER_SIZE][2]: cosine and sine of 2 pi k / FOURIER_SIZE */
  int32_t channels, hop;
  float epsilon; /* of the norm of the features */
  float highest; /* log magnitude */
} Synthesis;

/* The frames of one call. */
typedef struct {
  const float *features;     /* [rows][channels], not yet normalised */
  const float *source;       /* row r reads the FOURIER_SIZE samples from source + r * hop */
  const int64_t *noise_rows; /* [rows] */
  float *samples;            /* [rows][FOURIER_SIZE] */
  int32_t rows;
} Frames;

/* SYNTHESIS_ROWS frames, on the stack. */
typedef struct {
  float parameters[SYNTHESIS_HEADS][SYNTHESIS_ROWS * SYNTHESIS_MAX_OUTPUTS];
  float real[SYNTHESIS_ROWS][FOURIER_BINS], imaginary[SYNTHESIS_ROWS][FOURIER_BINS];
} Scratch;
_Static_assert(sizeof(Scratch) + 2 * SYNTHESIS_ROWS * SYNTHESIS_MAX_INPUTS + 4 * sizeof(Complex) * FOURIER_HALF <=
                   STACK_BYTES,
               "the scratch of synthesise does not fit on the stack");

typedef struct {
  const float *weight; /* [hop]: place of a sample between the frames around it */
  int32_t hop;
  float rate_hz, lowest_hz, highest_hz;
} PulseSource;

/* The five parameters of `count` frames from `first` on: layer norm, then the heads. */
static void predict(const Synthesis *synthesis, const Frames *frames, int32_t first, int32_t count, Scratch *s) {
  const Matrix *heads = synthesis->heads;
  int16_t levels[SYNTHESIS_ROWS * SYNTHESIS_MAX_INPUTS]; /* or bytes, in half of it */
  int32_t zeros[SYNTHESIS_ROWS];
  float scales[SYNTHESIS_ROWS], row_in[SYNTHESIS_MAX_INPUTS];
  const Quantised rows = {levels, scales, zeros};
  for (int32_t row = 0; row < count; ++row) {
    normalise(frames->features + (int64_t)(first + row) * synthesis->channels, synthesis->channels, synthesis->epsilon,
              row_in);
    quantise_row(heads, row_in, synthesis->channels, row, &rows);
  }
  for (int head = 0; head < SYNTHESIS_HEADS; ++head) multiply(heads + head, &rows, count, s->parameters[head], 0);
}

/* The spectra of `lanes` frames of the source, at most LANES of them, from row `group` on. */
static void analyse(const Synthesis *synthesis, const float *source, int32_t group, int32_t lanes, Scratch *s) {
  const float *window = synthesis->source_window;
  Complex one[FOURIER_HALF], other[FOURIER_HALF];
  memset(one, 0, sizeof one);
  for (int32_t lane = 0; lane < lanes; ++lane) {
    const float *from = source + (int64_t)(group + lane) * synthesis->hop;
    for (int n = 0; n < FOURIER_HALF; ++n) {
      one[n].re[lane] = from[2 * n] * window[2 * n];
      one[n].im[lane] = from[2 * n + 1] * window[2 * n + 1];
    }
  }
  const Complex *z = transform(one, other, synthesis->turns);
  for (int k = 0; k < FOURIER_BINS; ++k) {
    const Complex bin = real_bin(z, k, synthesis->turns);
    for (int32_t lane = 0; lane < lanes; ++lane)
      s->real[group + lane][k] = bin.re[lane], s->imaginary[group + lane][k] = bin.im[lane];
  }
}

/* A row's spectrum of the source to that of its frame. noise [2][FOURIER_BINS]. */
static void mix(const Synthesis *synthesis, const float *noise, int32_t row, Scratch *s) {
  const int32_t at = row * synthesis->heads->outputs;
  const float *lh = s->parameters[0] + at, *theta = s->parameters[1] + at, *ln = s->parameters[2] + at;
  const float *lr = s->parameters[3] + at, *phi = s->parameters[4] + at, highest = synthesis->highest;
  float *restrict real = s->real[row], *restrict imaginary = s->imaginary[row];
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

/* The windowed samples [lanes][FOURIER_SIZE] of `lanes` spectra, at most LANES of them, from row `group` on. */
static void invert(const Synthesis *synthesis, int32_t group, int32_t lanes, float *samples, Scratch *s) {
  const float *turns = synthesis->turns, *window = synthesis->window;
  Complex one[FOURIER_HALF], other[FOURIER_HALF];
  /* Back: z = even + i odd of the bins; the inverse transform is the transform with re and im exchanged. */
  for (int k = 0; k < FOURIER_HALF; ++k) {
    Complex a = {{0}, {0}}, mirror = {{0}, {0}};
    for (int32_t lane = 0; lane < lanes; ++lane) {
      const int32_t row = group + lane;
      a.re[lane] = s->real[row][k], a.im[lane] = s->imaginary[row][k];
      mirror.re[lane] = s->real[row][FOURIER_HALF - k], mirror.im[lane] = -s->imaginary[row][FOURIER_HALF - k];
    }
    const float conjugate[2] = {turns[2 * k], -turns[2 * k + 1]};
    const Complex odd = turned(times(minus(a, mirror), conjugate)), even = plus(a, mirror);
    one[k].im = even.re - odd.re, one[k].re = even.im - odd.im;
  }
  const Complex *z = transform(one, other, turns);
  for (int32_t lane = 0; lane < lanes; ++lane) {
    float *to = samples + (int64_t)lane * FOURIER_SIZE;
    for (int n = 0; n < FOURIER_HALF; ++n) {
      to[2 * n] = z[n].im[lane] * (window[2 * n] / FOURIER_SIZE);
      to[2 * n + 1] = z[n].re[lane] * (window[2 * n + 1] / FOURIER_SIZE);
    }
  }
}

/* Features to windowed frames of samples. */
void synthesise(const Synthesis *synthesis, const Frames *frames) {
  Scratch scratch;
  for (int32_t first = 0; first < frames->rows; first += SYNTHESIS_ROWS) {
    const int32_t count = frames->rows - first < SYNTHESIS_ROWS ? frames->rows - first : SYNTHESIS_ROWS;
    const float *source = frames->source + (int64_t)first * synthesis->hop;
    float *samples = frames->samples + (int64_t)first * FOURIER_SIZE;
    predict(synthesis, frames, first, count, &scratch);
    for (int32_t group = 0; group < count; group += LANES)
      analyse(synthesis, source, group, count - group < LANES ? count - group : LANES, &scratch);
    for (int32_t row = 0; row < count; ++row)
      mix(synthesis, synthesis->noise + frames->noise_rows[first + row] * FOURIER_BINS * 2, row, &scratch);
    for (int32_t group = 0; group < count; group += LANES)
      invert(synthesis, group, count - group < LANES ? count - group : LANES, samples + (int64_t)group * FOURIER_SIZE,
             &scratch);
  }
}

/* Pulses of a segment: f0 [frames] in Hz to blocks [frames + 3][hop], of which two lead and one trails as mirrors;
 * frames at least 3. */
void pulses(const PulseSource *source, const float *f0, int32_t frames, float *blocks) {
  const int32_t hop = source->hop;
  const float *weight = source->weight;
  const float rate_hz = source->rate_hz, lowest_hz = source->lowest_hz, highest_hz = source->highest_hz;
  float *samples = blocks + 2 * (int64_t)hop, hz[SYNTHESIS_MAX_HOP], cycles[SYNTHESIS_MAX_HOP];
  double start = 0;
  for (int32_t frame = 0; frame < frames; ++frame) {
    const float before = f0[frame ? frame - 1 : 0], here = f0[frame],
                after = f0[frame + 1 < frames ? frame + 1 : frame];
    const int32_t half = hop / 2;
    for (int32_t i = 0; i < half; ++i) hz[i] = before + weight[i] * (here - before);
    for (int32_t i = half; i < hop; ++i) hz[i] = here + weight[i] * (after - here);
    double sum = 0;
    float run = 0;
    for (int32_t i = 0; i < hop; ++i) {
      const float floor_hz = hz[i] > lowest_hz ? hz[i] : lowest_hz;
      run += floor_hz;
      sum += floor_hz;
      cycles[i] = run;
    }
    float *to = samples + (int64_t)frame * hop;
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
    start += sum / rate_hz;
  }
  const int64_t count = (int64_t)frames * hop;
  for (int32_t i = 0; i < 2 * hop; ++i) blocks[i] = samples[2 * hop - i];
  for (int32_t i = 0; i < hop; ++i) samples[count + i] = samples[count - 2 - i];
}
