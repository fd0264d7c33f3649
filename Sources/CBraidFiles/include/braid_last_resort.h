// What a process does that cannot go on: unfinished files go, and where memory was refused one line tells.
#pragma once

#include <stddef.h>

// Sets the line of `braid_last_resort_memory`: `before`, "N bytes" or "more memory", `after`, to `descriptor`; and the
// exit code. The texts are copied (1000 bytes of each at most).
void braid_last_resort_set(int descriptor, const char *before, const char *after, int exit_code);
// Removes unfinished files, writes the line and ends the process. Takes no memory and no locks; 0 is an unknown size.
_Noreturn void braid_last_resort_memory(size_t bytes);
// From now on a crash removes unfinished files first; a crash for want of memory ends as above instead.
void braid_last_resort_catch_crashes(void);
