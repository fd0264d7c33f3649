#include "braid_kernels.h"

#define SUFFIX gemm_base
#define LANES 4
#define VECTORS 2
#define ROWS 6
#define HALF 0
#include "../common/gemm.inc"

void braid_fill_gemm_base(braid_gemm_kernels *table) { NAME(fill)(table); }
