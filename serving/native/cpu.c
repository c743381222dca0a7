/* Which instructions this processor and its operating system run. */
#include <stdint.h>

#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>

/* Registers whose contents the operating system keeps, as bits of XCR0. */
enum { STATE_AVX = 0x6, STATE_AVX512 = 0xe6 };

static uint64_t saved_states(void) {
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

/* 0: neither of these, 1: all of x86-64-v3, 2: all of x86-64-v4 and AVX-512 VNNI. The numbers are the places in TIERS
 * of tiers.py and the bits those of Intel's manual, volume 2, CPUID. */
int32_t tier(void) {
  uint32_t a, b, c, d, extended;
  if (!__get_cpuid(0x80000001, &a, &b, &extended, &d) || !__get_cpuid(1, &a, &b, &c, &d)) return 0;
  const uint32_t v2 = 1u << 0 | 1u << 9 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 23; /* sse3 ssse3 cx16 sse4 popcnt */
  const uint32_t v3 = 1u << 12 | 1u << 22 | 1u << 27 | 1u << 28 | 1u << 29;          /* fma movbe osxsave avx f16c */
  if ((c & (v2 | v3)) != (v2 | v3) || !(extended & 1u << 5) /* lzcnt */) return 0;
  const uint64_t saved = saved_states();
  if ((saved & STATE_AVX) != STATE_AVX || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  const uint32_t avx2 = 1u << 3 | 1u << 5 | 1u << 8; /* bmi1 avx2 bmi2 */
  if ((b & avx2) != avx2) return 0;
  const uint32_t avx512 = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31; /* f dq cd bw vl */
  const int vnni = c >> 11 & 1;
  return (saved & STATE_AVX512) == STATE_AVX512 && (b & avx512) == avx512 && vnni ? 2 : 1;
}
#else
int32_t tier(void) { return 0; }
#endif
