#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "braid_pool.h"

// Design. One job at a time: a caller that finds the pool taken runs its loop alone. `remaining` is both the
// signal that there is work and the way to claim it: a thread owns an index once it has decremented the word
// from a value above zero, and the job's other fields cannot change before that index is done, because the
// caller returns only when `pending` (indices not yet done) is zero. A worker that was not scheduled, or that
// came too late, owns nothing and is not waited for.

enum { MAX_THREADS = 256, SPIN = 2000 };

static struct {
  braid_task task;
  void *context;
  size_t count;
} job;

static _Alignas(64) _Atomic size_t remaining;  // indices that nobody owns yet
static _Alignas(64) _Atomic size_t pending;    // indices that are not done
static _Alignas(64) _Atomic size_t wanted;     // threads, the caller included; 0: not yet decided
static _Atomic int sleepers;                   // workers that sleep or are about to
static _Atomic int caller_sleeps;
static size_t started;                         // workers that exist, guarded by submit
static pthread_mutex_t submit = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_came = PTHREAD_COND_INITIALIZER;
static pthread_cond_t work_ended = PTHREAD_COND_INITIALIZER;
static __thread int in_task;

static inline void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Runs indices until none is left to own.
static void drain(void) {
  size_t left = atomic_load(&remaining);
  while (left > 0) {
    if (!atomic_compare_exchange_weak(&remaining, &left, left - 1)) continue;
    job.task(job.context, job.count - left);
    if (atomic_fetch_sub(&pending, 1) == 1 && atomic_load(&caller_sleeps)) {
      pthread_mutex_lock(&gate);
      pthread_cond_signal(&work_ended);
      pthread_mutex_unlock(&gate);
    }
    left = atomic_load(&remaining);
  }
}

static int may_work(size_t index) {
  return atomic_load_explicit(&remaining, memory_order_relaxed) > 0 &&
         index + 1 < atomic_load_explicit(&wanted, memory_order_relaxed);
}

static void *worker(void *argument) {
  const size_t index = (size_t)argument;
  in_task = 1;
  for (;;) {
    int found = 0;
    for (int spin = 0; spin < SPIN && !found; spin++) {
      found = may_work(index);
      if (!found) relax();
    }
    if (!found) {
      pthread_mutex_lock(&gate);
      atomic_fetch_add(&sleepers, 1);
      while (atomic_load(&remaining) == 0 || index + 1 >= atomic_load(&wanted))
        pthread_cond_wait(&work_came, &gate);
      atomic_fetch_sub(&sleepers, 1);
      pthread_mutex_unlock(&gate);
    }
    drain();
  }
  return NULL;
}

static size_t default_threads(void) {
  const char *text = getenv("BRAID_THREADS");
  if (text) {
    long n = strtol(text, NULL, 10);
    if (n >= 1) return n > MAX_THREADS ? MAX_THREADS : (size_t)n;
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    int n = CPU_COUNT(&set);
    if (n >= 1) return n > MAX_THREADS ? MAX_THREADS : (size_t)n;
  }
  return 1;
}

size_t braid_threads(void) {
  size_t threads = atomic_load(&wanted);
  if (threads == 0) {
    size_t none = 0;
    threads = default_threads();
    if (!atomic_compare_exchange_strong(&wanted, &none, threads)) threads = none;
  }
  return threads;
}

void braid_set_threads(size_t threads) {
  atomic_store(&wanted, threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads);
}

// With submit held. Where the system refuses a thread, the loop runs on those there are.
static void start_workers(size_t threads) {
  if (started + 1 >= threads) return;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // signals belong to the program's own threads
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 4 << 20);
  while (started + 1 < threads) {
    pthread_t thread;
    if (pthread_create(&thread, &attributes, worker, (void *)started)) break;
    started++;
  }
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void braid_parallel_for(size_t count, braid_task task, void *context) {
  const size_t threads = braid_threads();
  if (count <= 1 || in_task || threads == 1 || pthread_mutex_trylock(&submit) != 0) {
    for (size_t i = 0; i < count; i++) task(context, i);
    return;
  }
  start_workers(threads);
  in_task = 1;
  job.task = task;
  job.context = context;
  job.count = count;
  atomic_store(&pending, count);
  atomic_store(&remaining, count);
  if (atomic_load(&sleepers) > 0) {
    pthread_mutex_lock(&gate);
    pthread_cond_broadcast(&work_came);
    pthread_mutex_unlock(&gate);
  }
  drain();
  for (int spin = 0; spin < SPIN && atomic_load(&pending) != 0; spin++) relax();
  if (atomic_load(&pending) != 0) {
    pthread_mutex_lock(&gate);
    atomic_store(&caller_sleeps, 1);
    while (atomic_load(&pending) != 0) pthread_cond_wait(&work_ended, &gate);
    atomic_store(&caller_sleeps, 0);
    pthread_mutex_unlock(&gate);
  }
  in_task = 0;
  pthread_mutex_unlock(&submit);
}
