#include "braid_kernels.h"

#define BRAID_LANES 4
#include "../common/fourier.inc"

void braid_fill_fourier_base(braid_fourier_kernels *table) { fill_fourier(table); }
