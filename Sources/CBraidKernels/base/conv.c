#include "braid_kernels.h"

void braid_fill_conv_base(braid_conv_kernels *table) { (void)table; }
