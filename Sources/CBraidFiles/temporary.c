#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "braid_files.h"

// Fixed storage: a signal handler may neither lock nor allocate.
enum { SLOTS = 64, PATH_BYTES = 4096, EMPTY = 0, FILLING = 1, LIVE = 2 };

static char paths[SLOTS][PATH_BYTES];
static _Atomic int states[SLOTS];

int braid_temporary_add(const char *path) {
  size_t length = strlen(path);
  if (length >= PATH_BYTES) return -1;
  for (int slot = 0; slot < SLOTS; slot++) {
    int expected = EMPTY;
    if (!atomic_compare_exchange_strong(&states[slot], &expected, FILLING)) continue;
    memcpy(paths[slot], path, length + 1);
    atomic_store(&states[slot], LIVE);
    return slot;
  }
  return -1;
}

void braid_temporary_remove(int slot) {
  if (slot >= 0 && slot < SLOTS) atomic_store(&states[slot], EMPTY);
}

void braid_temporary_unlink_all(void) {
  for (int slot = 0; slot < SLOTS; slot++)
    if (atomic_load(&states[slot]) == LIVE) unlink(paths[slot]);
}
