#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "braid_pool.h"

// Design. One job at a time. A job lives in a slot; its `ticket` word packs an epoch and the number of
// workers inside. Workers that see a new epoch spin briefly, then sleep on a condition variable. A worker enters a
// job by incrementing `inside` while the epoch is still open; the caller closes the epoch when the indices
// have run out and then waits only until the workers that entered have left. A worker that is not
// scheduled therefore never delays the caller.

enum { MAX_WORKERS = 255, SPIN = 4000 };

typedef struct {
  braid_task task;
  void *context;
  size_t count;
  _Atomic size_t next;
} job;

static job current;
// bit 63..8: epoch; bit 7..0 reserved. `entered` counts workers inside the open job; -1 bias when closed.
static _Atomic unsigned long epoch;        // odd: open, even: closed
static _Atomic long inside;                // workers inside
static _Atomic int sleepers;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t submit = PTHREAD_MUTEX_INITIALIZER;
static size_t wanted_threads;              // guarded by submit
static size_t started;                     // guarded by submit
static _Atomic size_t active_limit;        // workers with an index below this may enter
static __thread int in_task;

static inline void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void drain(job *j) {
  for (;;) {
    size_t i = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed);
    if (i >= j->count) return;
    j->task(j->context, i);
  }
}

static void *worker(void *argument) {
  size_t index = (size_t)argument;
  in_task = 1;
  unsigned long seen = 0;
  for (;;) {
    unsigned long e = 0;
    int found = 0;
    for (int spin = 0; spin < SPIN; spin++) {
      e = atomic_load_explicit(&epoch, memory_order_acquire);
      if ((e & 1) && e != seen) { found = 1; break; }
      relax();
    }
    if (!found) {
      pthread_mutex_lock(&gate);
      atomic_fetch_add(&sleepers, 1);
      while (!((e = atomic_load(&epoch)) & 1) || e == seen) pthread_cond_wait(&wake, &gate);
      atomic_fetch_sub(&sleepers, 1);
      pthread_mutex_unlock(&gate);
    }
    seen = e;
    if (index >= atomic_load_explicit(&active_limit, memory_order_relaxed)) continue;
    atomic_fetch_add(&inside, 1);            // enter, then check that the job is still this one
    if (atomic_load(&epoch) == e) drain(&current);
    atomic_fetch_sub(&inside, 1);
  }
  return NULL;
}

static size_t default_threads(void) {
  const char *text = getenv("BRAID_THREADS");
  if (text) {
    long n = strtol(text, NULL, 10);
    if (n >= 1 && n <= MAX_WORKERS + 1) return (size_t)n;
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    int n = CPU_COUNT(&set);
    if (n >= 1) return n > MAX_WORKERS + 1 ? MAX_WORKERS + 1 : (size_t)n;
  }
  return 1;
}

static void ensure_workers(void) {           // with submit held
  if (wanted_threads == 0) wanted_threads = default_threads();
  while (started + 1 < wanted_threads) {
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 1 << 20);
    int failed = pthread_create(&thread, &attributes, worker, (void *)started);
    pthread_attr_destroy(&attributes);
    if (failed) { wanted_threads = started + 1; break; }
    started++;
  }
  atomic_store(&active_limit, wanted_threads - 1);
}

void braid_parallel_for(size_t count, braid_task task, void *context) {
  if (count == 0) return;
  if (count == 1 || in_task || pthread_mutex_trylock(&submit) != 0) {
    for (size_t i = 0; i < count; i++) task(context, i);
    return;
  }
  ensure_workers();
  if (wanted_threads == 1) {
    pthread_mutex_unlock(&submit);
    for (size_t i = 0; i < count; i++) task(context, i);
    return;
  }
  in_task = 1;
  current.task = task;
  current.context = context;
  current.count = count;
  atomic_store_explicit(&current.next, 0, memory_order_relaxed);
  atomic_fetch_add(&epoch, 1);               // even -> odd: open
  if (atomic_load(&sleepers) > 0) {
    pthread_mutex_lock(&gate);
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&gate);
  }
  drain(&current);
  atomic_fetch_add(&epoch, 1);               // odd -> even: closed; nobody enters from here on
  for (int spin = 0; atomic_load(&inside) != 0; spin++) {
    if (spin < SPIN) relax();
    else sched_yield();
  }
  in_task = 0;
  pthread_mutex_unlock(&submit);
}

void braid_set_threads(size_t threads) {
  pthread_mutex_lock(&submit);
  wanted_threads = threads < 1 ? 1 : threads > MAX_WORKERS + 1 ? MAX_WORKERS + 1 : threads;
  pthread_mutex_unlock(&submit);
}

size_t braid_threads(void) {
  pthread_mutex_lock(&submit);
  if (wanted_threads == 0) wanted_threads = default_threads();
  size_t n = wanted_threads;
  pthread_mutex_unlock(&submit);
  return n;
}
