/* The embedded voice's layers on a CPU: whole layers per call, matrix products of 16-bit integers.
 *
 * A matrix is stored as int16 levels with one scale per output, an input row as int16 levels with one scale per row.
 * Products are summed exactly in int32: the caller bounds the levels so that no sum can overflow. A row's result is
 * therefore the same bit for bit whatever rows are computed beside it. An instruction makes 16 products where float32
 * makes 8; on a Zen 3 core that gives 60 products a nanosecond against 35 to 40.
 *
 * All arrays are contiguous, [rows][channels]; floats are float32. No function allocates, fails or keeps state.
 */
#include "fourier.h"
#include "matrix.h"

enum {
  TILE = 48, /* rows of a layer that stay in the cache together */
  MAX_INPUTS = 1024,
  MAX_OUTPUTS = 1024,
  MAX_TOKENS = 512,
  MAX_HEAD = 128,
  MAX_HOP = 512,
  FEW = 24,        /* rows synthesised together: a multiple of MATRIX_ROWS and of LANES */
  SPECTRA = 5,     /* lh, theta, ln, lr, phi */
};

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
} TextEncoder;

/* y [rows][width] = (residual +) act(matrix (normalised) x + bias), width <= matrix outputs. Row r of x are the
 * `channels` numbers from x + r * stride. normal: layer norm without affine; residual may be null or y itself. */
void linear(const Matrix *matrix, const float *x, int32_t stride, int32_t rows, int32_t channels, int32_t width,
            int32_t normal, float epsilon, int32_t gelu, const float *residual, float *y) {
  int16_t levels[TILE * MAX_INPUTS];
  float scales[TILE], row_in[MAX_INPUTS], out[TILE * MAX_OUTPUTS];
  for (int32_t first = 0; first < rows; first += TILE) {
    const int32_t count = rows - first < TILE ? rows - first : TILE;
    for (int32_t row = 0; row < count; ++row) {
      const float *from = x + (int64_t)(first + row) * stride;
      if (normal) normalise(from, channels, epsilon, row_in), from = row_in;
      scales[row] = quantise(from, channels, matrix->inputs, matrix->limit, levels + row * matrix->inputs);
    }
    if (gelu)
      multiply(matrix, levels, scales, count, out, 1);
    else
      multiply(matrix, levels, scales, count, out, 0);
    for (int32_t row = 0; row < count; ++row) {
      const float *from = out + row * matrix->outputs;
      float *to = y + (int64_t)(first + row) * width;
      if (residual) {
        const float *old = residual + (int64_t)(first + row) * width;
        for (int32_t c = 0; c < width; ++c) to[c] = old[c] + from[c];
      } else {
        memcpy(to, from, sizeof(float) * (size_t)width);
      }
    }
  }
}

static inline const float *row_of(const float *x, const float *before, int32_t rows_before, int32_t row,
                                  int32_t channels) {
  return row < 0 ? before + (int64_t)(rows_before + row) * channels : x + (int64_t)row * channels;
}

/* y[t] = x[t + centre] + narrow(gelu(widen(norm(depthwise(x)[t])))) for t in 0..rows_out, all [..][channels].
 * Output row t reads x rows t + offset + tap * dilation. Rows -rows_before to -1 of x lie in `before`; others outside
 * 0..rows_in count as zero, and the centre is never one of them. y must not overlap x. */
void convnext(const Block *block, int32_t offset, float epsilon, const float *before, int32_t rows_before,
              const float *x, int32_t rows_in, float *y, int32_t rows_out) {
  const Matrix *widen = &block->widen, *narrow = &block->narrow;
  const int32_t channels = block->channels, tap_count = block->tap_count, dilation = block->dilation;
  int16_t levels[TILE * MAX_INPUTS];
  float scales[TILE], row_in[MAX_INPUTS], hidden[TILE * MAX_OUTPUTS];
  const int32_t centre = offset + dilation * (tap_count / 2);
  for (int32_t first = 0; first < rows_out; first += TILE) {
    const int32_t count = rows_out - first < TILE ? rows_out - first : TILE;
    for (int32_t row = 0; row < count; ++row) {
      memcpy(row_in, block->taps_bias, sizeof(float) * (size_t)channels);
      for (int32_t tap = 0; tap < tap_count; ++tap) {
        const int32_t at = first + row + offset + tap * dilation;
        if (at < -rows_before || at >= rows_in) continue;
        const float *from = row_of(x, before, rows_before, at, channels), *weight = block->taps + tap * channels;
        for (int32_t c = 0; c < channels; ++c) row_in[c] += from[c] * weight[c];
      }
      normalise(row_in, channels, epsilon, row_in);
      scales[row] = quantise(row_in, channels, widen->inputs, widen->limit, levels + row * widen->inputs);
    }
    multiply(widen, levels, scales, count, hidden, 1);
    for (int32_t row = 0; row < count; ++row)
      scales[row] = quantise(hidden + row * widen->outputs, widen->outputs, narrow->inputs, narrow->limit,
                            levels + row * narrow->inputs);
    float *to = y + (int64_t)first * channels;
    multiply(narrow, levels, scales, count, to, 0);
    for (int32_t row = 0; row < count; ++row) {
      const float *from = row_of(x, before, rows_before, first + row + centre, channels);
      for (int32_t c = 0; c < channels; ++c) to[row * channels + c] += from[c];
    }
  }
}

/* Heard [tokens][heads * size] = softmax(q k / sqrt(size)) v, for qkv [tokens][3][heads][size]; tokens <= MAX_TOKENS,
 * size a multiple of LANES and at most MAX_HEAD. */
static void attend(const float *qkv, int32_t tokens, int32_t heads, int32_t size, float *heard) {
  const int64_t width = (int64_t)heads * size;
  const float scale = 1.0f / sqrtf((float)size);
  float weights[MAX_TOKENS];
  for (int32_t head = 0; head < heads; ++head)
    for (int32_t i = 0; i < tokens; ++i) {
      const float *q = qkv + i * 3 * width + head * size;
      float peak = -1e30f, sum = 0, out[MAX_HEAD] = {0};
      for (int32_t j = 0; j < tokens; ++j) {
        const float *k = qkv + (j * 3 + 1) * width + head * size;
        float sums[LANES] = {0};
        for (int32_t c = 0; c < size; c += LANES)
          for (int lane = 0; lane < LANES; ++lane) sums[lane] += q[c + lane] * k[c + lane];
        weights[j] = total(sums) * scale;
        peak = weights[j] > peak ? weights[j] : peak;
      }
      for (int32_t j = 0; j < tokens; ++j) weights[j] = exp_of(weights[j] - peak);
      for (int32_t j = 0; j < tokens; ++j) {
        const float *v = qkv + (j * 3 + 2) * width + head * size, weight = weights[j];
        for (int32_t c = 0; c < size; ++c) out[c] += weight * v[c];
        sum += weight;
      }
      for (int32_t c = 0; c < size; ++c) heard[i * width + head * size + c] = out[c] / sum;
    }
}

/* Embedded tokens x [tokens][channels] to features in place, not yet normalised. scratch [tokens][5 * channels]. */
void encode_text(const TextEncoder *text, int32_t tokens, float epsilon, float *x, float *scratch) {
  const int32_t channels = text->convs[0].channels, wide = text->linear1.outputs;
  float *other = scratch, *spread = scratch + (int64_t)tokens * channels;
  convnext(text->convs, -text->convs[0].tap_count / 2, epsilon, x, 0, x, tokens, other, tokens);
  convnext(text->convs + 1, -text->convs[1].tap_count / 2, epsilon, other, 0, other, tokens, x, tokens);
  for (int32_t repeat = 0; repeat < text->repeats; ++repeat) {
    linear(&text->qkv, x, channels, tokens, channels, 3 * channels, 1, epsilon, 0, 0, spread);
    attend(spread, tokens, text->heads, channels / text->heads, other);
    linear(&text->out, other, channels, tokens, channels, channels, 0, epsilon, 0, x, x);
    linear(&text->linear1, x, channels, tokens, channels, wide, 1, epsilon, 1, 0, spread);
    linear(&text->linear2, spread, wide, tokens, wide, channels, 0, epsilon, 0, x, x);
  }
}

/* One window of the decoder. inputs: `rows` frames, each of which sees 2 * reach + 1 rows of `width` numbers from its
 * own on. Block l computes counts[l] frames. before [block_count][2 * reach][channels] (rows_before is 0 in a first
 * window, else 2 * reach) are the last input frames of each block so far, kept the same after this window; where a
 * block has had fewer, the front of kept is undefined. features [most of rows and counts][channels], scratch likewise. block_count is
 * even, so that the last block writes features. */
void decode(const Matrix *matrix, const Block *blocks, int32_t block_count, int32_t reach, int32_t width, float epsilon,
            const float *inputs, int32_t rows, const float *before, int32_t rows_before, const int32_t *counts,
            float *kept, float *features, float *scratch) {
  const int32_t channels = blocks->channels, history = 2 * reach;
  float *x = features, *y = scratch;
  linear(matrix, inputs, width, rows, (history + 1) * width, channels, 0, epsilon, 0, 0, x);
  for (int32_t l = 0; l < block_count; ++l) {
    const float *old = before + (int64_t)l * rows_before * channels;
    for (int32_t row = 0; row < history; ++row) {
      const int32_t at = rows - history + row;
      if (at >= -rows_before)
        memcpy(kept + ((int64_t)l * history + row) * channels, row_of(x, old, rows_before, at, channels),
               sizeof(float) * (size_t)channels);
    }
    convnext(blocks + l, rows_before ? -history : -reach, epsilon, old, rows_before, x, rows, y, counts[l]);
    float *swap = x;
    x = y, y = swap;
    rows = counts[l];
  }
}

/* Features to windowed frames of samples (formula: synthesis.py). heads: SPECTRA matrices. features [rows][channels] are
 * layer-normalised here; row r hears the N_FFT samples from source + r * hop. noise [table][2][BINS], noise_rows [rows];
 * windows [N_FFT]; turns [N_FFT][2]: cosine and sine of 2 pi k / N_FFT; frames [rows][N_FFT]. */
void synthesise(const Matrix *heads, const float *features, int32_t rows, int32_t channels, float epsilon,
                float highest, const float *source, int32_t hop, const float *source_window, const float *noise,
                const int64_t *noise_rows, const float *window, const float *turns, float *frames) {
  int16_t levels[FEW * MAX_INPUTS];
  float scales[FEW], row_in[MAX_INPUTS], out[SPECTRA][FEW * MAX_OUTPUTS];
  float real[FEW][BINS], imaginary[FEW][BINS];
  Complex one[HALF], other[HALF];
  for (int32_t first = 0; first < rows; first += FEW) {
    const int32_t count = rows - first < FEW ? rows - first : FEW;
    for (int32_t row = 0; row < count; ++row) {
      normalise(features + (int64_t)(first + row) * channels, channels, epsilon, row_in);
      scales[row] = quantise(row_in, channels, heads->inputs, heads->limit, levels + row * heads->inputs);
    }
    for (int head = 0; head < SPECTRA; ++head) multiply(heads + head, levels, scales, count, out[head], 0);
    for (int32_t group = 0; group < count; group += LANES) {
      const int32_t lanes = count - group < LANES ? count - group : LANES;
      memset(one, 0, sizeof one);
      for (int32_t lane = 0; lane < lanes; ++lane) {
        const float *from = source + (int64_t)(first + group + lane) * hop;
        for (int n = 0; n < HALF; ++n) {
          one[n].re[lane] = from[2 * n] * source_window[2 * n];
          one[n].im[lane] = from[2 * n + 1] * source_window[2 * n + 1];
        }
      }
      const Complex *z = transform(one, other, turns);
      for (int k = 0; k < BINS; ++k) {
        const Complex bin = real_bin(z, k, turns);
        for (int32_t lane = 0; lane < lanes; ++lane)
          real[group + lane][k] = bin.re[lane], imaginary[group + lane][k] = bin.im[lane];
      }
    }
    for (int32_t row = 0; row < count; ++row) {
      const float *lh = out[0] + row * heads->outputs, *theta = out[1] + row * heads->outputs;
      const float *ln = out[2] + row * heads->outputs, *lr = out[3] + row * heads->outputs;
      const float *phi = out[4] + row * heads->outputs, *z = noise + noise_rows[first + row] * BINS * 2;
      for (int k = 0; k < BINS; ++k) {
        float sine, cosine, free_sine, free_cosine;
        sincos_of(tanh_of(theta[k]), &sine, &cosine);
        sincos_of(phi[k] * 0.318309886f, &free_sine, &free_cosine);
        const float harmonic = exp_of(lh[k] < highest ? lh[k] : highest);
        const float noisy = exp_of(ln[k] < highest ? ln[k] : highest);
        const float loose = exp_of(lr[k] < highest ? lr[k] : highest);
        const float e_real = real[row][k], e_imaginary = imaginary[row][k];
        real[row][k] = harmonic * (cosine * e_real - sine * e_imaginary) + noisy * z[k] + loose * free_cosine;
        imaginary[row][k] = harmonic * (cosine * e_imaginary + sine * e_real) + noisy * z[BINS + k] + loose * free_sine;
      }
      imaginary[row][0] = imaginary[row][HALF] = 0; /* of a real signal */
    }
    for (int32_t group = 0; group < count; group += LANES) {
      const int32_t lanes = count - group < LANES ? count - group : LANES;
      /* Back: z = even + i odd of the bins; the inverse transform is the transform with re and im exchanged. */
      for (int k = 0; k < HALF; ++k) {
        Complex a = {{0}, {0}}, mirror = {{0}, {0}};
        for (int32_t lane = 0; lane < lanes; ++lane) {
          a.re[lane] = real[group + lane][k], a.im[lane] = imaginary[group + lane][k];
          mirror.re[lane] = real[group + lane][HALF - k], mirror.im[lane] = -imaginary[group + lane][HALF - k];
        }
        const float conjugate[2] = {turns[2 * k], -turns[2 * k + 1]};
        const Complex odd = turned(times(minus(a, mirror), conjugate)), even = plus(a, mirror);
        one[k].im = even.re - odd.re, one[k].re = even.im - odd.im;
      }
      const Complex *samples = transform(one, other, turns);
      for (int32_t lane = 0; lane < lanes; ++lane) {
        float *to = frames + (int64_t)(first + group + lane) * N_FFT;
        for (int n = 0; n < HALF; ++n) {
          to[2 * n] = samples[n].im[lane] * (window[2 * n] / N_FFT);
          to[2 * n + 1] = samples[n].re[lane] * (window[2 * n + 1] / N_FFT);
        }
      }
    }
  }
}

/* Pulse source of a segment (formula: synthesis.py): f0 [frames] in Hz to blocks [frames + 3][hop], of which two lead
 * and one trails as mirrors; frames at least 3. weight [hop]: place of a sample between the frames around it. */
void pulses(const float *f0, int32_t frames, int32_t hop, float rate_hz, float lowest_hz, float highest_hz,
            const float *weight, float *blocks) {
  float *samples = blocks + 2 * (int64_t)hop, hz[MAX_HOP], cycles[MAX_HOP];
  double start = 0;
  for (int32_t frame = 0; frame < frames; ++frame) {
    const float before = f0[frame ? frame - 1 : 0], here = f0[frame], after = f0[frame + 1 < frames ? frame + 1 : frame];
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
