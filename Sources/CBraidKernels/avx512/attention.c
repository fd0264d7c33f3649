#include "braid_kernels.h"

void braid_fill_attention_avx512(braid_attention_kernels *table) { (void)table; }
