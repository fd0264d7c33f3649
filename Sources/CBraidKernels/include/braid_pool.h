// One thread pool for the whole process.
#pragma once
#include <stddef.h>

typedef void (*braid_task)(void *context, size_t index);

// Runs task(context, i) for every i in 0..<count, on the caller and on idle workers; returns when all are
// done. The caller waits only for workers that claimed an index. A call from inside a task runs serially.
void braid_parallel_for(size_t count, braid_task task, void *context);

// Threads used by a parallel loop, the caller included; at least 1. Default: the CPUs this process may use,
// or BRAID_THREADS. Setting it takes effect with the next loop.
void braid_set_threads(size_t threads);
size_t braid_threads(void);
