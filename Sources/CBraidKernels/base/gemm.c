#include "braid_kernels.h"

void braid_fill_gemm_base(braid_gemm_kernels *table) { (void)table; }
