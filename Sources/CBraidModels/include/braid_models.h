// The models that ship, each one safetensors file within the binary.
#pragma once
#include <stddef.h>

typedef struct {
  const char *name;
  const unsigned char *bytes;  // aligned to 64
  size_t count;
} braid_model;

// The model at `index`, or NULL past the last one.
const braid_model *braid_model_at(size_t index);
