#include <math.h>

#include "braid_kernels.h"

#define BRAID_LANES 4
#include "../common/scan.inc"

void braid_fill_scan_base(braid_scan_kernels *table) { fill_scan(table); }
