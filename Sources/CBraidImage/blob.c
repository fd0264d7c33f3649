#include "common.h"

void braid_blob_free(braid_blob *blob) {
  free(blob->bytes);
  blob->bytes = NULL;
  blob->count = 0;
}

void braid_image_metadata_free(braid_image_metadata *metadata) {
  braid_blob_free(&metadata->icc);
  braid_blob_free(&metadata->exif);
}
