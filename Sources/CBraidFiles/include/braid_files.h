// A table of the temporary files that exist now, so that a signal handler can remove them.
#pragma once

#include "braid_last_resort.h"

// Returns the file's slot, or -1 where the table is full or the path too long.
int braid_temporary_add(const char *path);
void braid_temporary_remove(int slot);
// Unlinks every file in the table. Safe in a signal handler.
void braid_temporary_unlink_all(void);
