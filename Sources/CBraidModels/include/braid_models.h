// The models that ship, each one safetensors file within the binary.
#pragma once
#include <stddef.h>

typedef struct {
  const char *name;
  const unsigned char *bytes;  // aligned to 64
  size_t count;
} braid_model;

extern const braid_model braid_models[];
extern const size_t braid_model_count;
