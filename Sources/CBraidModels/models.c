#include "braid_models.h"
