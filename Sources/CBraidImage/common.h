#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "braid_image.h"

static inline void braid_say(char *message, const char *text) {
  if (message) snprintf(message, BRAID_IMAGE_MESSAGE, "%s", text ? text : "");
}

// Copies `count` bytes into a new blob; leaves it empty where there is no memory.
static inline void braid_blob_copy(braid_blob *blob, const void *bytes, size_t count) {
  if (blob->bytes || count == 0) return;
  blob->bytes = malloc(count);
  if (!blob->bytes) return;
  memcpy(blob->bytes, bytes, count);
  blob->count = count;
}

// The number of bytes that `info` needs, or SIZE_MAX on overflow.
static inline size_t braid_pixel_bytes(const braid_image_info *info) {
  size_t total = 0;
  if (__builtin_mul_overflow((size_t)info->width, (size_t)info->height, &total) ||
      __builtin_mul_overflow(total, (size_t)(info->channels * info->sample_bytes), &total))
    return SIZE_MAX;
  return total;
}
