/* Products of matrices and rows in 16-bit integers. */
#pragma once

#include "numbers.h"

enum {
  MATRIX_ROWS = 6,     /* rows of a product held in registers, */
  MATRIX_COLUMNS = 16, /* by columns */
  MATRIX_UNROLL = 4,   /* pairs of inputs that a turn of the innermost loop takes */
  MATRIX_AHEAD = 4096, /* bytes of a panel fetched before they are used */
};

/* A matrix as Matrix in matrix.py lays it out. `outputs` is a multiple of MATRIX_COLUMNS, `inputs` of
 * 2 * MATRIX_UNROLL. Its inputs come in `parts` of `inputs` each; a part is summed exactly, the parts in float32. */
typedef struct {
  const int16_t *levels; /* [outputs / MATRIX_COLUMNS][parts][inputs / 2][MATRIX_COLUMNS][2] */
  const float *scale;    /* [outputs] */
  const float *bias;     /* [outputs] */
  int32_t inputs, outputs, parts;
  float limit; /* largest level of an input that cannot overflow a sum */
} Matrix;

/* One row to levels within +-limit; returns the scale of a level. */
static float quantise(const float *x, int32_t channels, int32_t inputs, float limit, int16_t *levels) {
  /* Sizes compare as the integers that their bits spell. */
  Ints sizes[2] = {{0}, {0}};
  const int32_t even = channels - channels % (2 * LANES);
  for (int32_t c = 0; c < even; c += 2 * LANES)
    for (int half = 0; half < 2; ++half) {
      Ints size;
      memcpy(&size, x + c + half * LANES, sizeof size);
      size &= 0x7fffffff;
      const Ints larger = size > sizes[half];
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
  for (int32_t c = 0; c < channels; ++c) levels[c] = (int16_t)(int32_t)rintf(x[c] * per_unit);
  for (int32_t c = channels; c < inputs; ++c) levels[c] = 0;
  return peak / limit;
}

/* Rows of levels as a product reads them: part p of row r is at levels + r * row_stride + p * part_stride, their scale
 * is scale[r + p * scale_stride]. Rows that overlap make a convolution. */
typedef struct {
  const int16_t *levels;
  const float *scale;
  int64_t row_stride, part_stride;
  int32_t scale_stride;
} Rows;

#if defined(__AVX2__) && !defined(__SANITIZE_ADDRESS__)
#define MATRIX_ASSEMBLY /* not for the address sanitizer, which does not see what assembly reads and writes */
/* A loop that compilers spill sums in, written out: MATRIX_UNROLL pairs of inputs a turn. ymm0 to ymm11 hold the sums,
 * 12 and 13 the panel's levels, 14 a pair of a row, 15 a product. */
/* clang-format off */
#define PAIR(row, low, high, at)                                                                                       \
  "vpbroadcastd " #at "(%[" #row "],%[k]), %%ymm14\n\tvpmaddwd %%ymm12, %%ymm14, %%ymm15\n\t"                          \
  "vpaddd %%ymm15, %%ymm" #low ", %%ymm" #low "\n\tvpmaddwd %%ymm13, %%ymm14, %%ymm14\n\t"                             \
  "vpaddd %%ymm14, %%ymm" #high ", %%ymm" #high "\n\t"
#define PANEL(at, left, right, ahead)                                                                                  \
  "vmovdqu " #left "(%[panel]), %%ymm12\n\tvmovdqu " #right "(%[panel]), %%ymm13\n\t"                                  \
  "prefetcht0 " #ahead "(%[panel])\n\t" PAIR(row0, 0, 1, at) PAIR(row1, 2, 3, at) PAIR(row2, 4, 5, at)                 \
      PAIR(row3, 6, 7, at) PAIR(row4, 8, 9, at) PAIR(row5, 10, 11, at)
#define CLEAR(sum) "vpxor %%ymm" #sum ", %%ymm" #sum ", %%ymm" #sum "\n\t"
#define STORE(sum, at) "vcvtdq2ps %%ymm" #sum ", %%ymm" #sum "\n\tvmovups %%ymm" #sum ", " #at "(%[sums])\n\t"
/* clang-format on */
#endif

#if defined(__AVX2__) && !defined(MATRIX_NO_VNNI)
#define MATRIX_VNNI
/* part_sums in the one instruction that multiplies pairs and adds them up, where the processor has it: a row of sums in
 * a register. */
__attribute__((target("avx512f,avx512vnni"), noinline)) static void part_sums_vnni(
    const int16_t *panel, const int16_t *const from[MATRIX_ROWS], int32_t inputs, Floats sums[MATRIX_ROWS][2]) {
  __m512i total[MATRIX_ROWS];
#pragma GCC unroll 6
  for (int row = 0; row < MATRIX_ROWS; ++row) total[row] = _mm512_setzero_si512();
  for (int32_t k = 0; k < inputs; k += 2, panel += 2 * MATRIX_COLUMNS) {
    const __m512i levels = _mm512_loadu_si512(panel);
    _mm_prefetch((const char *)panel + MATRIX_AHEAD, _MM_HINT_T0);
#pragma GCC unroll 6
    for (int row = 0; row < MATRIX_ROWS; ++row) {
      int32_t pair;
      memcpy(&pair, from[row] + k, sizeof pair);
      total[row] = _mm512_dpwssd_epi32(total[row], levels, _mm512_set1_epi32(pair));
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < MATRIX_ROWS; ++row) _mm512_storeu_ps((float *)sums[row], _mm512_cvtepi32_ps(total[row]));
}
#endif

/* sums = MATRIX_ROWS by MATRIX_COLUMNS of one part: exact, then rounded to float32. inputs is a multiple of
 * 2 * MATRIX_UNROLL. */
INLINE void part_sums(const int16_t *panel, const int16_t *const from[MATRIX_ROWS], int32_t inputs,
                      Floats sums[MATRIX_ROWS][2]) {
#ifdef MATRIX_VNNI
  if (__builtin_cpu_supports("avx512vnni")) {
    part_sums_vnni(panel, from, inputs, sums);
    return;
  }
#endif
#ifdef MATRIX_ASSEMBLY
  int64_t k = -2 * (int64_t)inputs; /* bytes to the end of the rows */
  const char *at = (const char *)panel + 128;
  /* clang-format off */
  __asm__ volatile(
      CLEAR(0) CLEAR(1) CLEAR(2) CLEAR(3) CLEAR(4) CLEAR(5) CLEAR(6) CLEAR(7) CLEAR(8) CLEAR(9) CLEAR(10) CLEAR(11)
      ".p2align 6\n1:\n\t"
      PANEL(0, -128, -96, 3968) PANEL(4, -64, -32, 4032) PANEL(8, 0, 32, 4096) PANEL(12, 64, 96, 4160)
      "add $256, %[panel]\n\tadd $16, %[k]\n\tjne 1b\n\t"
      STORE(0, 0) STORE(1, 32) STORE(2, 64) STORE(3, 96) STORE(4, 128) STORE(5, 160) STORE(6, 192) STORE(7, 224)
      STORE(8, 256) STORE(9, 288) STORE(10, 320) STORE(11, 352)
      : [panel] "+r"(at), [k] "+r"(k)
      : [row0] "r"(from[0] + inputs), [row1] "r"(from[1] + inputs), [row2] "r"(from[2] + inputs),
        [row3] "r"(from[3] + inputs), [row4] "r"(from[4] + inputs), [row5] "r"(from[5] + inputs), [sums] "r"(sums)
      : "cc", "memory", "ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6", "ymm7", "ymm8", "ymm9", "ymm10",
        "ymm11", "ymm12", "ymm13", "ymm14", "ymm15");
  /* clang-format on */
#else
  int32_t total[MATRIX_ROWS][MATRIX_COLUMNS] = {{0}};
  for (int32_t k = 0; k < inputs; k += 2, panel += 2 * MATRIX_COLUMNS)
    for (int row = 0; row < MATRIX_ROWS; ++row)
      for (int c = 0; c < MATRIX_COLUMNS; ++c)
        total[row][c] += from[row][k] * panel[2 * c] + from[row][k + 1] * panel[2 * c + 1];
  for (int row = 0; row < MATRIX_ROWS; ++row)
    for (int c = 0; c < MATRIX_COLUMNS; ++c) sums[row][c / LANES][c % LANES] = (float)total[row][c];
#endif
}

#undef PAIR
#undef PANEL
#undef CLEAR
#undef STORE

/* y[r][c] = (gelu of) matrix x + bias, for the first `rows` of x, at most MATRIX_ROWS of them, and MATRIX_COLUMNS
 * columns. */
INLINE void panel_product(const Matrix *matrix, int32_t parts, int32_t column, const Rows *x, int32_t first,
                          int32_t rows, int gelu, float *y, int32_t stride) {
  const int16_t *panel = matrix->levels + (int64_t)column * matrix->inputs * parts;
  Floats totals[MATRIX_ROWS][2], sums[MATRIX_ROWS][2];
  for (int32_t part = 0; part < parts; ++part, panel += (int64_t)matrix->inputs * MATRIX_COLUMNS) {
    const int16_t *from[MATRIX_ROWS];
    for (int row = 0; row < MATRIX_ROWS; ++row)
      from[row] = x->levels + (first + (row < rows ? row : rows - 1)) * x->row_stride + part * x->part_stride;
    part_sums(panel, from, matrix->inputs, sums);
#pragma GCC unroll 6
    for (int row = 0; row < MATRIX_ROWS; ++row) {
      const float scale = x->scale[first + (row < rows ? row : rows - 1) + part * x->scale_stride];
      for (int half = 0; half < 2; ++half)
        totals[row][half] = part ? totals[row][half] + sums[row][half] * scale : sums[row][half] * scale;
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < MATRIX_ROWS; ++row) {
    if (row >= rows) break;
    float total[MATRIX_COLUMNS], *to = y + (int64_t)row * stride;
    memcpy(total, totals[row], sizeof total);
    for (int c = 0; c < MATRIX_COLUMNS; ++c) {
      const float value = total[c] * matrix->scale[column + c] + matrix->bias[column + c];
      to[c] = gelu ? gelu_of(value) : value;
    }
  }
}

/* y[r][0..outputs) = matrix x + bias for r in 0..rows, y's rows `stride` apart. */
static inline void multiply_rows(const Matrix *matrix, const Rows *x, int32_t rows, float *y, int32_t stride) {
  for (int32_t column = 0; column < matrix->outputs; column += MATRIX_COLUMNS)
    for (int32_t first = 0; first < rows; first += MATRIX_ROWS)
      panel_product(matrix, matrix->parts, column, x, first, rows - first < MATRIX_ROWS ? rows - first : MATRIX_ROWS, 0,
                    y + (int64_t)first * stride + column, stride);
}

/* y[row][0..outputs) = (gelu of) matrix x + bias, for rows already in levels and a matrix of one part. */
INLINE void multiply(const Matrix *matrix, const int16_t *levels, const float *scale, int32_t rows, float *y,
                     int gelu) {
  const Rows x = {levels, scale, matrix->inputs, 0, 0};
  for (int32_t column = 0; column < matrix->outputs; column += MATRIX_COLUMNS)
    for (int32_t first = 0; first < rows; first += MATRIX_ROWS)
      panel_product(matrix, 1, column, &x, first, rows - first < MATRIX_ROWS ? rows - first : MATRIX_ROWS, gelu,
                    y + (int64_t)first * matrix->outputs + column, matrix->outputs);
}
