/* The embedded voice's layers on a CPU: whole layers per call, matrix products of 16-bit integers.
 *
 * A matrix is stored as int16 steps with one scale per output, an input row as int16 steps with one scale per row.
 * Products are summed exactly in int32: the caller bounds the steps so that no sum can overflow. A row's result is
 * therefore the same bit for bit whatever rows are computed beside it, and on AVX2 costs half of what float32 does
 * (16 products an instruction instead of 8).
 *
 * All arrays are contiguous, [rows][channels]; floats are float32. No function allocates, fails or keeps state.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX2__
#include <immintrin.h>
#endif

enum {
  TILE = 48,       /* rows of a layer that stay in the cache together */
  ROWS = 6,        /* rows of a product held in registers, */
  COLUMNS = 16,    /* by columns */
  MAX_INPUTS = 1024,
  MAX_OUTPUTS = 1024,
  MAX_TOKENS = 512,
  MAX_HEAD = 128,
  MAX_HOP = 512,
  AHEAD = 2048,    /* steps of a panel fetched before they are used */
  LANES = 8,
  N_FFT = 1200,
  HALF = N_FFT / 2,
  BINS = HALF + 1,
  FEW = 24,        /* rows synthesised together: a multiple of ROWS and of LANES */
  SPECTRA = 5,     /* lh, theta, ln, lr, phi */
};

/* A matrix as pack() in kernels.py lays it out. `outputs` is a multiple of COLUMNS, `inputs` even. */
typedef struct {
  const int16_t *steps; /* [outputs / COLUMNS][inputs / 2][COLUMNS][2] */
  const float *scale;   /* [outputs] */
  const float *bias;    /* [outputs] */
  int32_t inputs, outputs;
  float limit;          /* largest step of an input that cannot overflow a sum */
} Matrix;

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

/* ---- functions of one number, written so that a compiler vectorises the loops around them ---- */

static inline float exp_of(float x) { /* relative error below 2e-7 for |x| < 87 */
  x = x < -87.0f ? -87.0f : x > 87.0f ? 87.0f : x;
  const float n = rintf(x * 1.44269504f);
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  union { int32_t i; float f; } power = {((int32_t)n + 127) << 23};
  return p * power.f;
}

static inline float tanh_of(float x) { return 1.0f - 2.0f / (exp_of(2.0f * x) + 1.0f); }

/* x times the normal distribution function, by a polynomial in x^2 fitted to it on |x| < 4.25 and held beyond:
 * error below 5e-6 inside, below 1.1e-5 |x| outside. */
static inline float gelu_of(float x) {
  const float z = x < -4.25f ? -4.25f : x > 4.25f ? 4.25f : x, s = z * z;
  float p = -2.13475526e-12f;
  p = p * s + 2.35255149e-10f;
  p = p * s - 1.16668533e-8f;
  p = p * s + 3.47290182e-7f;
  p = p * s - 7.00634246e-6f;
  p = p * s + 1.02773774e-4f;
  p = p * s - 1.14519370e-3f;
  p = p * s + 9.89129860e-3f;
  p = p * s - 6.64100498e-2f;
  p = p * s + 3.98915112e-1f;
  return x * (0.5f + z * p);
}

/* sine and cosine of `turns` half turns: error below 2e-7 for |turns| < 1e5 */
static inline void sincos_of(float turns, float *sine, float *cosine) {
  const float n = rintf(2.0f * turns);
  const float r = (turns - 0.5f * n) * 3.14159265f, s = r * r;
  const float a = r + r * s * (-1.6666654611e-1f + s * (8.3321608736e-3f - 1.9515295891e-4f * s));
  const float b = 1.0f - 0.5f * s + s * s * (4.166664568298827e-2f + s * (-1.388731625493765e-3f + s * 2.443315711809948e-5f));
  const int32_t quarter = (int32_t)n & 3;
  const float swapped_s = quarter & 1 ? b : a, swapped_c = quarter & 1 ? a : b;
  *sine = quarter & 2 ? -swapped_s : swapped_s;
  *cosine = (quarter + 1) & 2 ? -swapped_c : swapped_c;
}

/* ---- rows ---- */

typedef int32_t Words __attribute__((vector_size(4 * LANES)));

static inline float total(const float lanes[LANES]) {
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

/* Sums and peaks run in LANES partial ones, so that their order, and with it the last bit, never depends on where a
 * row lies in memory. channels must be a multiple of LANES for normalise. */
static void normalise(const float *x, int32_t channels, float epsilon, float *y) {
  float sums[LANES] = {0}, squares[LANES] = {0};
  for (int32_t c = 0; c < channels; c += LANES)
    for (int lane = 0; lane < LANES; ++lane) sums[lane] += x[c + lane];
  const float mean = total(sums) / (float)channels;
  for (int32_t c = 0; c < channels; c += LANES)
    for (int lane = 0; lane < LANES; ++lane) {
      const float value = x[c + lane] - mean;
      y[c + lane] = value;
      squares[lane] += value * value;
    }
  const float scale = 1.0f / sqrtf(total(squares) / (float)channels + epsilon);
  for (int32_t c = 0; c < channels; ++c) y[c] *= scale;
}

/* One row to steps within +-limit; returns what a step is worth. */
static float quantise(const float *x, int32_t channels, int32_t inputs, float limit, int16_t *steps) {
  /* Sizes compare as the integers that their bits spell. */
  Words sizes[2] = {{0}, {0}};
  const int32_t even = channels - channels % (2 * LANES);
  for (int32_t c = 0; c < even; c += 2 * LANES)
    for (int half = 0; half < 2; ++half) {
      Words size;
      memcpy(&size, x + c + half * LANES, sizeof size);
      size &= 0x7fffffff;
      const Words larger = size > sizes[half];
      sizes[half] = (size & larger) | (sizes[half] & ~larger);
    }
  float peak = 1e-30f;
  for (int32_t c = even; c < channels; ++c) peak = fabsf(x[c]) > peak ? fabsf(x[c]) : peak;
  for (int lane = 0; lane < 2 * LANES; ++lane) {
    float size;
    memcpy(&size, (const char *)sizes + sizeof size * (size_t)lane, sizeof size);
    peak = size > peak ? size : peak;
  }
  const float per_unit = limit / peak;
  for (int32_t c = 0; c < channels; ++c) steps[c] = (int16_t)(int32_t)rintf(x[c] * per_unit);
  for (int32_t c = channels; c < inputs; ++c) steps[c] = 0;
  return peak / limit;
}

/* ROWS by COLUMNS of matrix x + bias to y, whose rows lie `stride` apart; only the first `rows` are stored. */
static inline __attribute__((always_inline)) void panel_product(const Matrix *matrix, int32_t column, const int16_t *x,
                                                                const float *worth, int32_t rows, int gelu, float *y,
                                                                int32_t stride) {
  const int32_t inputs = matrix->inputs;
  const int16_t *panel = matrix->steps + (int64_t)column * inputs, *from[ROWS];
  for (int row = 0; row < ROWS; ++row) from[row] = x + (int64_t)inputs * (row < rows ? row : rows - 1);
#ifdef __AVX2__
  __m256i total[ROWS][2];
  for (int row = 0; row < ROWS; ++row) total[row][0] = total[row][1] = _mm256_setzero_si256();
  for (int32_t k = 0; k < inputs; k += 2, panel += 2 * COLUMNS) {
    const __m256i left = _mm256_loadu_si256((const __m256i *)panel);
    const __m256i right = _mm256_loadu_si256((const __m256i *)(panel + COLUMNS));
    _mm_prefetch((const char *)(panel + AHEAD), _MM_HINT_T0);
#pragma GCC unroll 6
    for (int row = 0; row < ROWS; ++row) {
      /* Compilers want a 17th register here and spill a sum in the innermost loop. */
      __m256i pair, product;
      __asm__("vpbroadcastd %4, %2\n\tvpmaddwd %5, %2, %3\n\tvpaddd %3, %0, %0\n\t"
              "vpmaddwd %6, %2, %2\n\tvpaddd %2, %1, %1"
              : "+x"(total[row][0]), "+x"(total[row][1]), "=&x"(pair), "=&x"(product)
              : "m"(*(const int32_t *)(from[row] + k)), "x"(left), "x"(right));
    }
  }
#else
  int32_t total[ROWS][COLUMNS] = {{0}};
  for (int32_t k = 0; k < inputs; k += 2, panel += 2 * COLUMNS)
    for (int row = 0; row < ROWS; ++row)
      for (int c = 0; c < COLUMNS; ++c)
        total[row][c] += from[row][k] * panel[2 * c] + from[row][k + 1] * panel[2 * c + 1];
#endif
#pragma GCC unroll 6
  for (int row = 0; row < ROWS; ++row) {
    if (row >= rows) break;
    float sums[COLUMNS], *to = y + (int64_t)row * stride;
#ifdef __AVX2__
    _mm256_storeu_ps(sums, _mm256_cvtepi32_ps(total[row][0]));
    _mm256_storeu_ps(sums + 8, _mm256_cvtepi32_ps(total[row][1]));
#else
    for (int c = 0; c < COLUMNS; ++c) sums[c] = (float)total[row][c];
#endif
    for (int c = 0; c < COLUMNS; ++c) {
      const float value = sums[c] * (worth[row] * matrix->scale[column + c]) + matrix->bias[column + c];
      to[c] = gelu ? gelu_of(value) : value;
    }
  }
}

/* y[row][0..outputs) = (gelu of) matrix x + bias, for rows already in steps. */
static inline __attribute__((always_inline)) void multiply(const Matrix *matrix, const int16_t *steps,
                                                           const float *worth, int32_t rows, float *y, int gelu) {
  for (int32_t column = 0; column < matrix->outputs; column += COLUMNS)
    for (int32_t first = 0; first < rows; first += ROWS)
      panel_product(matrix, column, steps + (int64_t)first * matrix->inputs, worth + first,
                    rows - first < ROWS ? rows - first : ROWS, gelu,
                    y + (int64_t)first * matrix->outputs + column, matrix->outputs);
}

/* ---- layers ---- */

/* y [rows][width] = (residual +) act(matrix (normalised) x + bias), width <= matrix outputs. Row r of x are the
 * `channels` numbers from x + r * stride. normal: layer norm without affine; residual may be null or y itself. */
void linear(const Matrix *matrix, const float *x, int32_t stride, int32_t rows, int32_t channels, int32_t width,
            int32_t normal, float epsilon, int32_t gelu, const float *residual, float *y) {
  int16_t steps[TILE * MAX_INPUTS];
  float worth[TILE], row_in[MAX_INPUTS], out[TILE * MAX_OUTPUTS];
  for (int32_t first = 0; first < rows; first += TILE) {
    const int32_t count = rows - first < TILE ? rows - first : TILE;
    for (int32_t row = 0; row < count; ++row) {
      const float *from = x + (int64_t)(first + row) * stride;
      if (normal) normalise(from, channels, epsilon, row_in), from = row_in;
      worth[row] = quantise(from, channels, matrix->inputs, matrix->limit, steps + row * matrix->inputs);
    }
    if (gelu)
      multiply(matrix, steps, worth, count, out, 1);
    else
      multiply(matrix, steps, worth, count, out, 0);
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
  int16_t steps[TILE * MAX_INPUTS];
  float worth[TILE], row_in[MAX_INPUTS], hidden[TILE * MAX_OUTPUTS];
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
      worth[row] = quantise(row_in, channels, widen->inputs, widen->limit, steps + row * widen->inputs);
    }
    multiply(widen, steps, worth, count, hidden, 1);
    for (int32_t row = 0; row < count; ++row)
      worth[row] = quantise(hidden + row * widen->outputs, widen->outputs, narrow->inputs, narrow->limit,
                            steps + row * narrow->inputs);
    float *to = y + (int64_t)first * channels;
    multiply(narrow, steps, worth, count, to, 0);
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

/* ---- Fourier transforms of LANES rows at once: one row per lane ---- */

typedef float Lanes __attribute__((vector_size(4 * LANES)));
typedef struct {
  Lanes re, im;
} Complex;

static inline Complex plus(Complex a, Complex b) { return (Complex){a.re + b.re, a.im + b.im}; }
static inline Complex minus(Complex a, Complex b) { return (Complex){a.re - b.re, a.im - b.im}; }
static inline Complex scaled(Complex a, float f) { return (Complex){a.re * f, a.im * f}; }
static inline Complex turned(Complex a) { return (Complex){a.im, -a.re}; } /* by -i */
static inline Complex times(Complex a, const float *w) { /* w: cosine, sine of an angle; by its conjugate */
  return (Complex){a.re * w[0] + a.im * w[1], a.im * w[0] - a.re * w[1]};
}

/* The sums over j of a[j] e^(-2 pi i j k / radix). */
static inline void butterfly(int radix, Complex *a) {
  if (radix == 2) {
    const Complex sum = plus(a[0], a[1]);
    a[1] = minus(a[0], a[1]), a[0] = sum;
  } else if (radix == 3) {
    const Complex sum = plus(a[1], a[2]), side = turned(scaled(minus(a[1], a[2]), 0.866025404f));
    const Complex rest = minus(a[0], scaled(sum, 0.5f));
    a[0] = plus(a[0], sum), a[1] = plus(rest, side), a[2] = minus(rest, side);
  } else if (radix == 4) {
    const Complex s = plus(a[0], a[2]), t = minus(a[0], a[2]), u = plus(a[1], a[3]), v = turned(minus(a[1], a[3]));
    a[0] = plus(s, u), a[1] = plus(t, v), a[2] = minus(s, u), a[3] = minus(t, v);
  } else {
    const Complex s = plus(a[1], a[4]), t = plus(a[2], a[3]), u = minus(a[1], a[4]), v = minus(a[2], a[3]);
    const Complex m = plus(a[0], plus(scaled(s, 0.309016994f), scaled(t, -0.809016994f)));
    const Complex n = plus(a[0], plus(scaled(s, -0.809016994f), scaled(t, 0.309016994f)));
    const Complex p = turned(plus(scaled(u, 0.951056516f), scaled(v, 0.587785252f)));
    const Complex q = turned(minus(scaled(u, 0.587785252f), scaled(v, 0.951056516f)));
    a[0] = plus(a[0], plus(s, t)), a[1] = plus(m, p), a[4] = minus(m, p), a[2] = plus(n, q), a[3] = minus(n, q);
  }
}

/* Stockham's transform of HALF points, x to the returned one of x and y. turns [N_FFT][2]: cosine and sine. */
static Complex *transform(Complex *x, Complex *y, const float *turns) {
  static const int radices[] = {4, 5, 5, 3, 2};
  int length = HALF, stride = 1;
  for (int stage = 0; stage < 5; ++stage) {
    const int radix = radices[stage], part = length / radix;
    for (int p = 0; p < part; ++p)
      for (int q = 0; q < stride; ++q) {
        Complex a[5];
        for (int k = 0; k < radix; ++k) a[k] = x[q + stride * (p + part * k)];
        butterfly(radix, a);
        y[q + stride * radix * p] = a[0];
        for (int k = 1; k < radix; ++k)
          y[q + stride * (radix * p + k)] = times(a[k], turns + 4 * p * k * stride);
      }
    Complex *swap = x;
    x = y, y = swap;
    length = part, stride *= radix;
  }
  return x;
}

/* Bin k of the transform of 2 HALF real numbers whose even and odd ones were transformed as z = even + i odd. */
static inline Complex real_bin(const Complex *z, int k, const float *turns) {
  const Complex a = z[k % HALF], b = z[(HALF - k) % HALF], mirror = {b.re, -b.im};
  return scaled(plus(plus(a, mirror), turned(times(minus(a, mirror), turns + 2 * k))), 0.5f);
}

/* Features to windowed frames of samples (formula: synthesis.py). heads: SPECTRA matrices. features [rows][channels] are
 * layer-normalised here; row r hears the N_FFT samples from source + r * hop. noise [table][2][BINS], noise_rows [rows];
 * windows [N_FFT]; turns [N_FFT][2]: cosine and sine of 2 pi k / N_FFT; frames [rows][N_FFT]. */
void synthesise(const Matrix *heads, const float *features, int32_t rows, int32_t channels, float epsilon,
                float highest, const float *source, int32_t hop, const float *source_window, const float *noise,
                const int64_t *noise_rows, const float *window, const float *turns, float *frames) {
  int16_t steps[FEW * MAX_INPUTS];
  float worth[FEW], row_in[MAX_INPUTS], out[SPECTRA][FEW * MAX_OUTPUTS];
  float real[FEW][BINS], imaginary[FEW][BINS];
  Complex one[HALF], other[HALF];
  for (int32_t first = 0; first < rows; first += FEW) {
    const int32_t count = rows - first < FEW ? rows - first : FEW;
    for (int32_t row = 0; row < count; ++row) {
      normalise(features + (int64_t)(first + row) * channels, channels, epsilon, row_in);
      worth[row] = quantise(row_in, channels, heads->inputs, heads->limit, steps + row * heads->inputs);
    }
    for (int head = 0; head < SPECTRA; ++head) multiply(heads + head, steps, worth, count, out[head], 0);
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
