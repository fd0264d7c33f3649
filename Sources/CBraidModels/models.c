#include "braid_models.h"

// One block a model, left out where the file is not there (before its training, say).
#if __has_embed("models/contrast-s-denoise.safetensors")
static const unsigned char contrast_s_denoise[] __attribute__((aligned(64))) = {
#embed "models/contrast-s-denoise.safetensors"
};
#define CONTRAST_S_DENOISE {"contrast-s-denoise", contrast_s_denoise, sizeof contrast_s_denoise},
#else
#define CONTRAST_S_DENOISE
#endif

#if __has_embed("models/contrast-s-x2.safetensors")
static const unsigned char contrast_s_x2[] __attribute__((aligned(64))) = {
#embed "models/contrast-s-x2.safetensors"
};
#define CONTRAST_S_X2 {"contrast-s-x2", contrast_s_x2, sizeof contrast_s_x2},
#else
#define CONTRAST_S_X2
#endif

// The last entry is empty: C has no arrays without elements.
static const braid_model models[] = {CONTRAST_S_DENOISE CONTRAST_S_X2{0, 0, 0}};

const braid_model *braid_model_at(size_t index) {
  return index + 1 < sizeof models / sizeof models[0] ? &models[index] : 0;
}
