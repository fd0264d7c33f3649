#include "braid_models.h"

// #embed is C23; clang has it in C17 too, as an extension.
#pragma clang diagnostic ignored "-Wc23-extensions"

static const unsigned char contrast_s_denoise[] __attribute__((aligned(64))) = {
#embed "models/contrast-s-denoise.safetensors"
};
static const unsigned char contrast_s_x2[] __attribute__((aligned(64))) = {
#embed "models/contrast-s-x2.safetensors"
};
static const unsigned char enhance_s[] __attribute__((aligned(64))) = {
#embed "models/enhance-s.safetensors"
};
static const unsigned char enhance_s_stream[] __attribute__((aligned(64))) = {
#embed "models/enhance-s-stream.safetensors"
};

static const braid_model models[] = {
    {"contrast-s-denoise", contrast_s_denoise, sizeof contrast_s_denoise},
    {"contrast-s-x2", contrast_s_x2, sizeof contrast_s_x2},
    {"enhance-s", enhance_s, sizeof enhance_s},
    {"enhance-s-stream", enhance_s_stream, sizeof enhance_s_stream},
};

const braid_model *braid_model_at(size_t index) {
  return index < sizeof models / sizeof models[0] ? &models[index] : 0;
}
