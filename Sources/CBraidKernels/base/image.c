#include "braid_kernels.h"

#define BRAID_LANES 4
#include "../common/image.inc"

void braid_fill_image_base(braid_image_kernels *table) { fill_image(table); }
