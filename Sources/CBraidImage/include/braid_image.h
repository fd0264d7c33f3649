#pragma once
#include <stddef.h>
#include <stdint.h>

// Plain-C decoding and encoding of pictures in memory. Nothing here aborts, exits or jumps out: every function
// returns a status and, where it is not BRAID_IMAGE_OK, writes one line into `message`.
// The functions keep no state between calls and may run on any thread.

#ifdef __cplusplus
extern "C" {
#endif

enum { BRAID_IMAGE_MESSAGE = 256 };

typedef enum {
  BRAID_IMAGE_OK = 0,
  BRAID_IMAGE_TRUNCATED,     // the bytes end before the picture does
  BRAID_IMAGE_CORRUPT,       // the bytes contradict the format
  BRAID_IMAGE_UNSUPPORTED,   // a valid file of a kind that is not read
  BRAID_IMAGE_OUT_OF_MEMORY,
} braid_image_status;

enum {
  BRAID_IMAGE_CMYK = 1,          // the samples were CMYK and are now RGB
  BRAID_IMAGE_PALETTE = 2,       // the samples were indices into a palette
  BRAID_IMAGE_FLOAT = 4,         // the samples were floats, now clamped to 0...1 and rounded to 16 bits
  BRAID_IMAGE_EXTRANEOUS = 8,    // the file has stray bytes that the decoder skipped
  BRAID_IMAGE_MORE_PAGES = 16,   // the file holds more pictures than the one read
};

typedef struct {
  uint32_t width, height;
  int32_t channels;       // 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA (straight alpha)
  int32_t sample_bytes;   // 1 or 2 (native byte order)
  int32_t source_depth;   // bits of a sample in the file
  int32_t orientation;    // 1...8 as in EXIF, where the container (not EXIF) states it; otherwise 1
  uint32_t flags;
} braid_image_info;

typedef struct {
  uint8_t *bytes;         // from malloc; NULL when there is none
  size_t count;
} braid_blob;

typedef struct {
  braid_blob icc;
  braid_blob exif;        // the TIFF structure, without an "Exif\0\0" prefix
} braid_image_metadata;

void braid_blob_free(braid_blob *blob);
void braid_image_metadata_free(braid_image_metadata *metadata);

// Reads the header into `info` and, where `pixels` is not NULL, the picture into `pixels`: rows from the top,
// channels interleaved, no padding; `pixel_bytes` must be width * height * channels * sample_bytes as a first call
// with NULL has reported them. `metadata` (may be NULL) is filled in the second call only.
braid_image_status braid_png_read(const uint8_t *bytes, size_t count, braid_image_info *info, void *pixels,
                                  size_t pixel_bytes, braid_image_metadata *metadata, char *message);
braid_image_status braid_jpeg_read(const uint8_t *bytes, size_t count, braid_image_info *info, void *pixels,
                                   size_t pixel_bytes, braid_image_metadata *metadata, char *message);
braid_image_status braid_webp_read(const uint8_t *bytes, size_t count, braid_image_info *info, void *pixels,
                                   size_t pixel_bytes, braid_image_metadata *metadata, char *message);
braid_image_status braid_tiff_read(const uint8_t *bytes, size_t count, braid_image_info *info, void *pixels,
                                   size_t pixel_bytes, braid_image_metadata *metadata, char *message);

// Encodes `pixels` (laid out as above) into `output` (from malloc). Of `info`, width, height, channels and
// sample_bytes count; `metadata` may be NULL. Level: zlib's 0...9.
braid_image_status braid_png_write(const void *pixels, const braid_image_info *info,
                                   const braid_image_metadata *metadata, int level, braid_blob *output,
                                   char *message);
// JPEG takes 1 or 3 channels of 8 bits. `full_colour` keeps colour at full resolution (4:4:4), otherwise 4:2:0.
braid_image_status braid_jpeg_write(const void *pixels, const braid_image_info *info,
                                    const braid_image_metadata *metadata, int quality, int full_colour,
                                    braid_blob *output, char *message);

// The libraries behind it, one after the other: the name and version of library `index`, or NULL past the last.
// The texts stay valid.
const char *braid_image_library_name(int index);
const char *braid_image_library_version(int index);

#ifdef __cplusplus
}
#endif
