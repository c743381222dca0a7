/* Which instructions this processor and its operating system run. */
#define _GNU_SOURCE /* syscall */
#include <stdint.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>

/* Registers whose contents the operating system keeps, as bits of XCR0. */
enum { STATE_AVX = 0x6, STATE_AVX512 = 0xe6, STATE_TILES = 0x60000 };

static uint64_t saved_states(void) {
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

/* Whether the operating system lets this process, and those that it forks, use tile registers; it has to be asked
 * (documentation of Linux, arch/x86/xstate: ARCH_REQ_XCOMP_PERM of component 18). It refuses where a thread handles its
 * signals on a stack that is too small for them. */
static int tiles_allowed(void) {
#ifdef __linux__
  return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
  return 0;
#endif
}

/* 0: none of these, 1: all of x86-64-v3, 2: all of x86-64-v4 and AVX-512 VNNI, 3: those and AMX for bytes. The numbers
 * are the places in TIERS of tiers.py and the bits those of Intel's manual, volume 2, CPUID. */
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
  if ((saved & STATE_AVX512) != STATE_AVX512 || (b & avx512) != avx512 || !vnni) return 1;
  const uint32_t amx = 1u << 24 | 1u << 25; /* tile int8 */
  return (saved & STATE_TILES) == STATE_TILES && (d & amx) == amx && tiles_allowed() ? 3 : 2;
}
#else
int32_t tier(void) { return 0; }
#endif
