/* The innermost loops of a product, in the instructions of each tier (tiers.py): exact sums, the same in all of them.
 */
#pragma once

#include "vector.h"

enum {
  MATRIX_ROWS = 6,     /* rows of a product held in registers, */
  MATRIX_COLUMNS = 16, /* by columns */
  MATRIX_UNROLL = 4,   /* pairs of inputs that a turn of the innermost loop takes */
  MATRIX_AHEAD = 4096, /* bytes of a panel fetched before they are used */
};

/* part_sums: sums = MATRIX_ROWS by MATRIX_COLUMNS of one part, exact, then rounded to float32. panel
 * [inputs / 2][MATRIX_COLUMNS][2], inputs a multiple of 2 * MATRIX_UNROLL.
 * more_sums: after = before + the same sums as 32-bit integers, modulo 2^32; not in the tier that has a wider block
 * (products of the flow). panel and inputs as above; after may be before.
 * byte_sums: the same of bytes, not rounded. panel [inputs / 4][MATRIX_COLUMNS][4], inputs a multiple of 4. */

#if defined(__AVX512VNNI__)
/* One instruction multiplies pairs, or fours of bytes, and adds them up: a row of sums in a register. */
static __attribute__((noinline)) void part_sums(const int16_t *panel, const int16_t *const from[MATRIX_ROWS],
                                                int32_t inputs, Floats sums[MATRIX_ROWS][2]) {
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

static __attribute__((noinline)) void byte_sums(const int8_t *panel, const uint8_t *const from[MATRIX_ROWS],
                                                int32_t inputs, int32_t sums[MATRIX_ROWS][MATRIX_COLUMNS]) {
  __m512i total[MATRIX_ROWS];
#pragma GCC unroll 6
  for (int row = 0; row < MATRIX_ROWS; ++row) total[row] = _mm512_setzero_si512();
  for (int32_t k = 0; k < inputs; k += 4, panel += 4 * MATRIX_COLUMNS) {
    const __m512i levels = _mm512_loadu_si512(panel);
    _mm_prefetch((const char *)panel + MATRIX_AHEAD, _MM_HINT_T0);
#pragma GCC unroll 6
    for (int row = 0; row < MATRIX_ROWS; ++row) {
      int32_t four;
      memcpy(&four, from[row] + k, sizeof four);
      total[row] = _mm512_dpbusd_epi32(total[row], _mm512_set1_epi32(four), levels);
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < MATRIX_ROWS; ++row) _mm512_storeu_si512(sums[row], total[row]);
}
#else
#if defined(__AVX2__) && !defined(__SANITIZE_ADDRESS__) /* which does not see what assembly reads and writes */
/* A loop that compilers spill sums in, written out: MATRIX_UNROLL pairs of inputs a turn. ymm0 to ymm11 hold the sums,
 * 12 and 13 the panel's levels, 14 a pair of a row, 15 a product. */
/* clang-format off */
#define PAIR(row, low, high, at)                                                                                       \
  "vpbroadcastd " #at "(%[" #row "],%[k]), %%ymm14\n\tvpmaddwd %%ymm12, %%ymm14, %%ymm15\n\t"                          \
  "vpaddd %%ymm15, %%ymm" #low ", %%ymm" #low "\n\tvpmaddwd %%ymm13, %%ymm14, %%ymm14\n\t"                             \
  "vpaddd %%ymm14, %%ymm" #high ", %%ymm" #high "\n\t"
#define PANEL(at, left, right, fetch, ahead)                                                                           \
  "vmovdqu " #left "(%[panel]), %%ymm12\n\tvmovdqu " #right "(%[panel]), %%ymm13\n\t"                                  \
  #fetch " " #ahead "(%[panel])\n\t" PAIR(row0, 0, 1, at) PAIR(row1, 2, 3, at) PAIR(row2, 4, 5, at)                    \
      PAIR(row3, 6, 7, at) PAIR(row4, 8, 9, at) PAIR(row5, 10, 11, at)
#define CLEAR(sum) "vpxor %%ymm" #sum ", %%ymm" #sum ", %%ymm" #sum "\n\t"
#define STORE(sum, at) "vcvtdq2ps %%ymm" #sum ", %%ymm" #sum "\n\tvmovups %%ymm" #sum ", " #at "(%[sums])\n\t"
#define FETCH(sum, at) "vmovdqu " #at "(%[before]), %%ymm" #sum "\n\t"
#define KEEP(sum, at) "vmovdqu %%ymm" #sum ", " #at "(%[after])\n\t"
/* clang-format on */

INLINE void part_sums(const int16_t *panel, const int16_t *const from[MATRIX_ROWS], int32_t inputs,
                      Floats sums[MATRIX_ROWS][2]) {
  int64_t k = -2 * (int64_t)inputs; /* bytes to the end of the rows */
  const char *at = (const char *)panel + 128;
  /* clang-format off */
  __asm__ volatile(
      CLEAR(0) CLEAR(1) CLEAR(2) CLEAR(3) CLEAR(4) CLEAR(5) CLEAR(6) CLEAR(7) CLEAR(8) CLEAR(9) CLEAR(10) CLEAR(11)
      ".p2align 6\n1:\n\t"
      PANEL(0, -128, -96, prefetcht0, 3968) PANEL(4, -64, -32, prefetcht0, 4032)
      PANEL(8, 0, 32, prefetcht0, 4096) PANEL(12, 64, 96, prefetcht0, 4160)
      "add $256, %[panel]\n\tadd $16, %[k]\n\tjne 1b\n\t"
      STORE(0, 0) STORE(1, 32) STORE(2, 64) STORE(3, 96) STORE(4, 128) STORE(5, 160) STORE(6, 192) STORE(7, 224)
      STORE(8, 256) STORE(9, 288) STORE(10, 320) STORE(11, 352)
      : [panel] "+r"(at), [k] "+r"(k)
      : [row0] "r"(from[0] + inputs), [row1] "r"(from[1] + inputs), [row2] "r"(from[2] + inputs),
        [row3] "r"(from[3] + inputs), [row4] "r"(from[4] + inputs), [row5] "r"(from[5] + inputs), [sums] "r"(sums)
      : "cc", "memory", "ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6", "ymm7", "ymm8", "ymm9", "ymm10",
        "ymm11", "ymm12", "ymm13", "ymm14", "ymm15");
  /* clang-format on */
}

INLINE void more_sums(const int16_t *panel, const int16_t *const from[MATRIX_ROWS], int32_t inputs,
                      const int32_t before[MATRIX_ROWS][MATRIX_COLUMNS], int32_t after[MATRIX_ROWS][MATRIX_COLUMNS]) {
  int64_t k = -2 * (int64_t)inputs;
  const char *at = (const char *)panel + 128;
  /* clang-format off */
  __asm__ volatile(
      FETCH(0, 0) FETCH(1, 32) FETCH(2, 64) FETCH(3, 96) FETCH(4, 128) FETCH(5, 160) FETCH(6, 192) FETCH(7, 224)
      FETCH(8, 256) FETCH(9, 288) FETCH(10, 320) FETCH(11, 352)
      ".p2align 6\n1:\n\t"
      PANEL(0, -128, -96, prefetcht1, 8064) PANEL(4, -64, -32, prefetcht1, 8128)
      PANEL(8, 0, 32, prefetcht1, 8192) PANEL(12, 64, 96, prefetcht1, 8256)
      "add $256, %[panel]\n\tadd $16, %[k]\n\tjne 1b\n\t"
      KEEP(0, 0) KEEP(1, 32) KEEP(2, 64) KEEP(3, 96) KEEP(4, 128) KEEP(5, 160) KEEP(6, 192) KEEP(7, 224)
      KEEP(8, 256) KEEP(9, 288) KEEP(10, 320) KEEP(11, 352)
      : [panel] "+r"(at), [k] "+r"(k)
      : [row0] "r"(from[0] + inputs), [row1] "r"(from[1] + inputs), [row2] "r"(from[2] + inputs),
        [row3] "r"(from[3] + inputs), [row4] "r"(from[4] + inputs), [row5] "r"(from[5] + inputs), [before] "r"(before),
        [after] "r"(after)
      : "cc", "memory", "ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6", "ymm7", "ymm8", "ymm9", "ymm10",
        "ymm11", "ymm12", "ymm13", "ymm14", "ymm15");
  /* clang-format on */
}
#undef PAIR
#undef PANEL
#undef CLEAR
#undef STORE
#undef FETCH
#undef KEEP
#else
INLINE void part_sums(const int16_t *panel, const int16_t *const from[MATRIX_ROWS], int32_t inputs,
                      Floats sums[MATRIX_ROWS][2]) {
  /* Columns that nobody needs, such as keys past the last, may hold anything: their overflow is defined. */
  uint32_t total[MATRIX_ROWS][MATRIX_COLUMNS] = {{0}};
  for (int32_t k = 0; k < inputs; k += 2, panel += 2 * MATRIX_COLUMNS)
    for (int row = 0; row < MATRIX_ROWS; ++row)
      for (int c = 0; c < MATRIX_COLUMNS; ++c)
        total[row][c] += (uint32_t)(from[row][k] * panel[2 * c]) + (uint32_t)(from[row][k + 1] * panel[2 * c + 1]);
  for (int row = 0; row < MATRIX_ROWS; ++row)
    for (int c = 0; c < MATRIX_COLUMNS; ++c) sums[row][c / LANES][c % LANES] = (float)(int32_t)total[row][c];
}

INLINE void more_sums(const int16_t *panel, const int16_t *const from[MATRIX_ROWS], int32_t inputs,
                      const int32_t before[MATRIX_ROWS][MATRIX_COLUMNS], int32_t after[MATRIX_ROWS][MATRIX_COLUMNS]) {
  uint32_t total[MATRIX_ROWS][MATRIX_COLUMNS]; /* whose overflow is defined */
  memcpy(total, before, sizeof total);
  for (int32_t k = 0; k < inputs; k += 2, panel += 2 * MATRIX_COLUMNS)
    for (int row = 0; row < MATRIX_ROWS; ++row)
      for (int c = 0; c < MATRIX_COLUMNS; ++c)
        total[row][c] += (uint32_t)(from[row][k] * panel[2 * c]) + (uint32_t)(from[row][k + 1] * panel[2 * c + 1]);
  memcpy(after, total, sizeof total);
}
#endif

INLINE void byte_sums(const int8_t *panel, const uint8_t *const from[MATRIX_ROWS], int32_t inputs,
                      int32_t sums[MATRIX_ROWS][MATRIX_COLUMNS]) {
  memset(sums, 0, sizeof(int32_t) * MATRIX_ROWS * MATRIX_COLUMNS);
  for (int32_t k = 0; k < inputs; k += 4, panel += 4 * MATRIX_COLUMNS)
    for (int row = 0; row < MATRIX_ROWS; ++row)
      for (int c = 0; c < MATRIX_COLUMNS; ++c)
        for (int i = 0; i < 4; ++i) sums[row][c] += from[row][k + i] * panel[4 * c + i];
}
#endif
