#include "braid_kernels.h"

void braid_fill_norm_base(braid_norm_kernels *table) { (void)table; }
