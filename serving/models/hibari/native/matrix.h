/* Products of matrices and rows in 16-bit integers, and the functions of one number that the layers need. */
#pragma once

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
  AHEAD = 2048,    /* steps of a panel fetched before they are used */
  LANES = 8,
};

/* A matrix as Matrix in kernels.py lays it out. `outputs` is a multiple of COLUMNS, `inputs` even. */
typedef struct {
  const int16_t *steps; /* [outputs / COLUMNS][inputs / 2][COLUMNS][2] */
  const float *scale;   /* [outputs] */
  const float *bias;    /* [outputs] */
  int32_t inputs, outputs;
  float limit;          /* largest step of an input that cannot overflow a sum */
} Matrix;

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
