/* The threads that share a call, phase by phase. A phase is a number of chunks that any thread may take; it ends when
 * all of them are done, whether or not every thread has come: a thread that does not get to run delays no other unless
 * it holds a chunk. */
#pragma once

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

#ifdef _OPENMP
#include <omp.h>
#endif

enum { CREW_SPINS = 2000 /* turns that a thread waits before it lets others run */ };

typedef struct {
  _Atomic uint64_t next; /* the phase in the upper half, its next chunk in the lower */
  _Atomic int32_t done;  /* chunks of the phase */
} Crew;

typedef struct {
  int32_t number;
  uint32_t phase;
  int holds; /* a chunk */
  Crew *crew;
} Thread;

static inline Thread this_thread(Crew *crew) {
#ifdef _OPENMP
  return (Thread){omp_get_thread_num(), 0, 0, crew};
#else
  return (Thread){0, 0, 0, crew};
#endif
}

/* Whether others have ended the phase that this thread is about to begin. What it read of the phase's inputs before
 * may then be torn, but it gets no chunk to use it for. */
static inline int too_late(const Thread *thread) {
  return (uint32_t)(atomic_load_explicit(&thread->crew->next, memory_order_acquire) >> 32) != thread->phase;
}

/* The next of `count` chunks of this phase, the one before being done; -1 when the phase has ended. */
static inline int32_t take(Thread *thread, int32_t count) {
  Crew *crew = thread->crew;
  if (thread->holds && atomic_fetch_add_explicit(&crew->done, 1, memory_order_acq_rel) == count - 1) {
    atomic_store_explicit(&crew->done, 0, memory_order_relaxed);
    atomic_store_explicit(&crew->next, (uint64_t)(thread->phase + 1) << 32, memory_order_release);
  }
  thread->holds = 0;
  uint64_t next = atomic_load_explicit(&crew->next, memory_order_acquire);
  for (int turn = 0; (uint32_t)(next >> 32) == thread->phase; ++turn) {
    if ((int32_t)(uint32_t)next < count) {
      if (!atomic_compare_exchange_weak(&crew->next, &next, next + 1)) continue;
      thread->holds = 1;
      return (int32_t)(uint32_t)next;
    }
    if (turn > CREW_SPINS) sched_yield();
#ifdef __x86_64__
    __builtin_ia32_pause();
#endif
    next = atomic_load_explicit(&crew->next, memory_order_acquire);
  }
  ++thread->phase;
  return -1;
}
