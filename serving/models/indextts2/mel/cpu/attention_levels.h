/* Softmax attention of a few queries of one head in 16-bit levels: both of its products are exact sums. */
#pragma once

#include "products.h"

enum {
  ATTENTION_PART = 128,     /* keys whose values are summed exactly; heads are filled up to a multiple of it */
  ATTENTION_NORM = 46336,   /* of a query or key in levels: its square, with what rounding adds, is within 31 bits */
  ATTENTION_VALUE = 8191,   /* largest level of a value; */
  ATTENTION_SUM = 262000,   /* largest sum of a part's weights, in levels: times a value within 31 bits */
  ATTENTION_WEIGHT = 32767, /* largest weight in levels */
  WIDE_PANELS = 4,          /* of keys, or of a head's channels, that the tier avx512 takes at once */
  WIDE_COLUMNS = WIDE_PANELS * MATRIX_COLUMNS,
};

/* One head of a sequence. Panels are as a Matrix has them: keys [padded / MATRIX_COLUMNS][size / 2][MATRIX_COLUMNS][2],
 * values [padded / ATTENTION_PART][size / MATRIX_COLUMNS][ATTENTION_PART / 2][MATRIX_COLUMNS][2]. What lies past the
 * last frame is any level, with a scale of 0 in value_scale. */
typedef struct {
  int16_t *queries; /* [frames][size] */
  int16_t *keys, *values;
  float *query_scale;             /* [frames] */
  float *key_scale, *value_scale; /* [padded] */
} Head;

static inline int32_t padded_keys(int32_t frames) {
  return (frames + ATTENTION_PART - 1) / ATTENTION_PART * ATTENTION_PART;
}

/* Keys of a part that a product of weights and values takes. */
static inline int32_t inputs_of(int32_t part, int32_t count) {
  const int32_t left = count - part * ATTENTION_PART, unit = 2 * MATRIX_UNROLL;
  return left < ATTENTION_PART ? (left + unit - 1) / unit * unit : ATTENTION_PART;
}

INLINE float largest_lane(Floats v) {
  float largest = v[0];
  for (int lane = 1; lane < LANES; ++lane) largest = v[lane] > largest ? v[lane] : largest;
  return largest;
}

INLINE float sum_of_lanes(Floats v) {
  float lanes[LANES];
  store(lanes, v);
  return total(lanes);
}

/* x [size] to levels whose norm is at most ATTENTION_NORM, so that no product of two such overflows (Cauchy and
 * Schwarz); returns the scale of a level. size is a multiple of LANES. */
static float quantise_normed(const float *x, int32_t size, int16_t *levels) {
  Floats squares = {0}, lows = {0}, highs = {0};
  for (int32_t c = 0; c < size; c += LANES) {
    const Floats value = load(x + c);
    squares += value * value;
    lows = least(value, lows), highs = most(value, highs);
  }
  const float high = largest_lane(highs), low = -largest_lane(-lows), peak = (high > -low ? high : -low) + 1e-30f;
  const float by_norm = ATTENTION_NORM / sqrtf(sum_of_lanes(squares) + 1e-30f), by_peak = ATTENTION_WEIGHT / peak;
  const float per_unit = by_norm < by_peak ? by_norm : by_peak;
  for (int32_t c = 0; c < size; ++c) levels[c] = (int16_t)(int32_t)rintf(x[c] * per_unit);
  return 1.0f / per_unit;
}

/* exp of x <= 0, relative error below 4e-6; exp(-87) below that. */
INLINE Floats exp_down(Floats x) {
  const Floats rounder = splat(12582912.0f); /* 1.5 * 2^23: a sum with it has the whole number in its low bits */
  x = most(x, splat(-87.0f));
  const Floats whole = multiply_add(x, splat(1.44269504f), rounder), n = whole - rounder;
  const Floats r = multiply_add(n, splat(-0.693147181f), x);
  Floats p = splat(8.3334519073e-3f);
  p = multiply_add(p, r, splat(4.1665795894e-2f));
  p = multiply_add(p, r, splat(1.6666665459e-1f));
  p = multiply_add(p, r, splat(5.0000001201e-1f));
  p = multiply_add(p, r, splat(1.0f));
  p = multiply_add(p, r, splat(1.0f));
  return (Floats)((Ints)p + ((Ints)whole << 23));
}

/* The scores w [count, filled up to LANES] of one query to levels; scales [parts]: of a level in each part of the
 * output. */
static void weigh(float *w, int32_t count, const float *value_scale, int16_t *levels, float *scales) {
  const int32_t padded = padded_keys(count), filled = (count + LANES - 1) / LANES * LANES;
  Floats peaks = splat(-1e30f), sums = {0};
  for (int32_t key = count; key < filled; ++key) w[key] = -1e30f;
  for (int32_t key = 0; key < filled; key += LANES) peaks = most(load(w + key), peaks);
  const Floats peak = splat(largest_lane(peaks));
  for (int32_t begin = 0, part = 0; begin < count; begin += ATTENTION_PART, ++part) {
    const int32_t end = filled - begin < ATTENTION_PART ? filled : begin + ATTENTION_PART;
    Floats largest = splat(1e-30f), all = {0};
    for (int32_t key = begin; key < end; key += LANES) {
      const Floats weight = exp_down(load(w + key) - peak), scaled = weight * load(value_scale + key);
      store(w + key, scaled);
      sums += weight, all += scaled;
      largest = most(scaled, largest);
    }
    const float by_peak = ATTENTION_WEIGHT / largest_lane(largest),
                by_sum = ATTENTION_SUM / (sum_of_lanes(all) + 1e-30f);
    const float per_unit = by_peak < by_sum ? by_peak : by_sum;
    for (int32_t key = begin; key < end; ++key) levels[key] = (int16_t)(int32_t)rintf(w[key] * per_unit);
    scales[part] = 1.0f / per_unit;
  }
  for (int32_t key = filled; key < padded; ++key) levels[key] = 0;
  const float share = 1.0f / sum_of_lanes(sums);
  for (int32_t part = 0; part * ATTENTION_PART < count; ++part) scales[part] *= share;
}

/* Floats of scratch that attend takes for heads of `frames`. */
static inline int64_t attend_scratch(int32_t frames) {
  const int64_t padded = padded_keys(frames);
  return MATRIX_ROWS * (padded + padded / 2 + padded / ATTENTION_PART);
}

#ifdef __AVX512VNNI__
/* Exact sums of MATRIX_ROWS rows by WIDE_PANELS panels, `next` levels apart. Short sums gain from many at once; that
 * many compilers spill, hence the instruction by its name. */
INLINE void wide_sums(const int16_t *panel, int64_t next, const int16_t *const from[MATRIX_ROWS], int32_t inputs,
                      __m512i sums[MATRIX_ROWS][WIDE_PANELS]) {
#pragma GCC unroll 6
  for (int row = 0; row < MATRIX_ROWS; ++row)
#pragma GCC unroll 4
    for (int p = 0; p < WIDE_PANELS; ++p) sums[row][p] = _mm512_setzero_si512();
  for (int32_t k = 0; k < inputs; k += 2, panel += 2 * MATRIX_COLUMNS) {
    __m512i levels[WIDE_PANELS];
#pragma GCC unroll 4
    for (int p = 0; p < WIDE_PANELS; ++p) levels[p] = _mm512_loadu_si512(panel + p * next);
#pragma GCC unroll 6
    for (int row = 0; row < MATRIX_ROWS; ++row) {
      int32_t pair;
      memcpy(&pair, from[row] + k, sizeof pair);
      const __m512i x = _mm512_set1_epi32(pair);
#pragma GCC unroll 4
      for (int p = 0; p < WIDE_PANELS; ++p)
        __asm__("vpdpwssd %2, %1, %0" : "+v"(sums[row][p]) : "v"(levels[p]), "v"(x));
    }
  }
}

/* to[r][0..WIDE_COLUMNS) = scales[r] key_scale times the products of the queries and of as many keys. */
static __attribute__((noinline)) void score_wide(const int16_t *keys, const int16_t *const from[MATRIX_ROWS],
                                                 int32_t size, const float scales[MATRIX_ROWS], const float *key_scale,
                                                 float *to, int64_t stride) {
  __m512i sums[MATRIX_ROWS][WIDE_PANELS];
  wide_sums(keys, (int64_t)MATRIX_COLUMNS * size, from, size, sums);
#pragma GCC unroll 6
  for (int row = 0; row < MATRIX_ROWS; ++row)
#pragma GCC unroll 4
    for (int p = 0; p < WIDE_PANELS; ++p) {
      const __m512 score = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[row][p]), _mm512_set1_ps(scales[row]));
      const __m512 scale = _mm512_loadu_ps(key_scale + p * MATRIX_COLUMNS);
      _mm512_storeu_ps(to + row * stride + p * MATRIX_COLUMNS, _mm512_mul_ps(score, scale));
    }
}

/* sums [MATRIX_ROWS][WIDE_COLUMNS] = (if `more`, +=) scales[r] times those of a part of the weights and values. */
static __attribute__((noinline)) void add_wide(const int16_t *values, const int16_t *const from[MATRIX_ROWS],
                                               int32_t inputs, const float scales[MATRIX_ROWS], int more,
                                               float sums[MATRIX_ROWS][WIDE_COLUMNS]) {
  __m512i part[MATRIX_ROWS][WIDE_PANELS];
  wide_sums(values, ATTENTION_PART * MATRIX_COLUMNS, from, inputs, part);
#pragma GCC unroll 6
  for (int row = 0; row < MATRIX_ROWS; ++row)
#pragma GCC unroll 4
    for (int p = 0; p < WIDE_PANELS; ++p) {
      float *const at = sums[row] + p * MATRIX_COLUMNS;
      const __m512 before = more ? _mm512_loadu_ps(at) : _mm512_setzero_ps();
      _mm512_storeu_ps(at, _mm512_fmadd_ps(_mm512_cvtepi32_ps(part[row][p]), _mm512_set1_ps(scales[row]), before));
    }
}
#endif

/* y[r] (rows `stride` apart) = softmax(query r . keys) values for the `rows` frames from `frame` on, at most
 * MATRIX_ROWS of them; `count` keys; size a multiple of MATRIX_COLUMNS. */
static void attend(const Head *head, int32_t frame, int32_t rows, int32_t count, int32_t size, float *scratch, float *y,
                   int64_t stride) {
  const int32_t padded = padded_keys(count), parts = padded / ATTENTION_PART;
  float *const w = scratch, *const part_scales = w + (int64_t)MATRIX_ROWS * padded; /* [rows][padded], [rows][parts] */
  int16_t *const levels = (int16_t *)(part_scales + MATRIX_ROWS * parts);           /* [rows][padded] */
  const int16_t *from[MATRIX_ROWS];
  float scales[MATRIX_ROWS], sums[MATRIX_ROWS][BLOCK_COLUMNS] __attribute__((aligned(64)));
  int32_t of[MATRIX_ROWS]; /* rows past the last repeat it */
  for (int row = 0; row < MATRIX_ROWS; ++row) {
    of[row] = row < rows ? row : rows - 1;
    from[row] = head->queries + (int64_t)(frame + of[row]) * size;
    scales[row] = head->query_scale[frame + of[row]];
  }
  int32_t key = 0;
#ifdef __AVX512VNNI__
  for (; count - key > BLOCK_COLUMNS; key += WIDE_COLUMNS)
    score_wide(head->keys + (int64_t)key * size, from, size, scales, head->key_scale + key, w + key, padded);
#endif
  for (; key < count; key += BLOCK_COLUMNS) {
    const int64_t panel = (int64_t)MATRIX_COLUMNS * size;
    add_block(head->keys + (int64_t)key * size, panel, from, size, scales, 0, sums);
    finish_block(sums, head->key_scale + key, 0, rows, BLOCK_COLUMNS, w + key, padded);
  }
  for (int32_t row = 0; row < rows; ++row)
    weigh(w + (int64_t)row * padded, count, head->value_scale, levels + (int64_t)row * padded,
          part_scales + row * parts);
  int32_t c = 0;
#ifdef __AVX512VNNI__
  for (; c + WIDE_COLUMNS <= size; c += WIDE_COLUMNS) {
    float wide[MATRIX_ROWS][WIDE_COLUMNS] __attribute__((aligned(64)));
    for (int32_t part = 0; part < parts; ++part) {
      const int32_t inputs = inputs_of(part, count);
      for (int row = 0; row < MATRIX_ROWS; ++row) {
        from[row] = levels + (int64_t)of[row] * padded + part * ATTENTION_PART;
        scales[row] = part_scales[of[row] * parts + part];
      }
      add_wide(head->values + (int64_t)part * ATTENTION_PART * size + (int64_t)c * ATTENTION_PART, from, inputs, scales,
               part > 0, wide);
    }
    for (int32_t row = 0; row < rows; ++row) memcpy(y + row * stride + c, wide[row], sizeof wide[row]);
  }
#endif
  for (; c < size; c += BLOCK_COLUMNS) {
    const int32_t columns = size - c < BLOCK_COLUMNS ? size - c : BLOCK_COLUMNS;
    const int64_t next = columns < BLOCK_COLUMNS ? 0 : ATTENTION_PART * MATRIX_COLUMNS;
    for (int32_t part = 0; part < parts; ++part) {
      const int32_t begin = part * ATTENTION_PART, inputs = inputs_of(part, count);
      for (int row = 0; row < MATRIX_ROWS; ++row) {
        from[row] = levels + (int64_t)of[row] * padded + begin;
        scales[row] = part_scales[of[row] * parts + part];
      }
      add_block(head->values + ((int64_t)begin * size + (int64_t)c * ATTENTION_PART), next, from, inputs, scales,
                part > 0, sums);
    }
    for (int32_t row = 0; row < rows; ++row) memcpy(y + row * stride + c, sums[row], sizeof(float) * (size_t)columns);
  }
}
