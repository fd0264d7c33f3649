#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "braid_kernels.h"

static braid_kernels tables[3];
static braid_level machine_level, current_level;
static int machine_has_bf16;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(braid_kernels *table, braid_level level) {
  table->level = level;
#define BRAID_FAMILY(name)                                                          \
  braid_fill_##name##_base(&table->name);                                           \
  if (level >= BRAID_LEVEL_AVX2) braid_fill_##name##_avx2(&table->name);            \
  if (level >= BRAID_LEVEL_AVX512) braid_fill_##name##_avx512(&table->name);
  BRAID_FAMILY(gemm)
  BRAID_FAMILY(block)
  BRAID_FAMILY(gemv)
  BRAID_FAMILY(conv)
  BRAID_FAMILY(math)
  BRAID_FAMILY(norm)
  BRAID_FAMILY(attention)
  BRAID_FAMILY(scan)
  BRAID_FAMILY(recurrence)
  BRAID_FAMILY(delta)
  BRAID_FAMILY(image)
  BRAID_FAMILY(fourier)
#undef BRAID_FAMILY
}

static void initialise(void) {
  machine_level = BRAID_LEVEL_BASE;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
    machine_level = BRAID_LEVEL_AVX2;
  if (machine_level == BRAID_LEVEL_AVX2 && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl"))
    machine_level = BRAID_LEVEL_AVX512;
  machine_has_bf16 = machine_level == BRAID_LEVEL_AVX512 && __builtin_cpu_supports("avx512bf16");
#endif
  current_level = machine_level;
  const char *wanted = getenv("BRAID_CPU");
  if (wanted) {
    braid_level level = machine_level;
    if (!strcmp(wanted, "base")) level = BRAID_LEVEL_BASE;
    if (!strcmp(wanted, "avx2")) level = BRAID_LEVEL_AVX2;
    if (!strcmp(wanted, "avx512")) level = BRAID_LEVEL_AVX512;
    if (level < current_level) current_level = level;
  }
  for (int level = 0; level <= (int)machine_level; level++) fill(&tables[level], (braid_level)level);
}

braid_level braid_current_level(void) {
  pthread_once(&once, initialise);
  return current_level;
}

braid_level braid_machine_level(void) {
  pthread_once(&once, initialise);
  return machine_level;
}

int braid_has_bf16(void) {
  pthread_once(&once, initialise);
  return machine_has_bf16 && current_level == BRAID_LEVEL_AVX512;
}

const braid_kernels *braid_kernels_current(void) {
  pthread_once(&once, initialise);
  return &tables[current_level];
}

const braid_kernels *braid_kernels_at(braid_level level) {
  pthread_once(&once, initialise);
  return level <= machine_level ? &tables[level] : NULL;
}
