#include <webp/decode.h>

#include "common.h"

static uint32_t little(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

// The chunks of the RIFF container: [name, length, payload, padding to even].
static void read_metadata(const uint8_t *bytes, size_t count, braid_image_metadata *metadata) {
  size_t offset = 12;
  while (count >= 8 && offset <= count - 8) {
    size_t length = little(bytes + offset + 4);
    const uint8_t *payload = bytes + offset + 8;
    if (length > count - offset - 8) return;
    if (!memcmp(bytes + offset, "ICCP", 4)) braid_blob_copy(&metadata->icc, payload, length);
    if (!memcmp(bytes + offset, "EXIF", 4)) {
      size_t skip = length > 6 && !memcmp(payload, "Exif\0\0", 6) ? 6 : 0;
      braid_blob_copy(&metadata->exif, payload + skip, length - skip);
    }
    offset += 8 + length + (length & 1);
  }
}

static braid_image_status explain(VP8StatusCode code, char *message) {
  switch (code) {
    case VP8_STATUS_OK: return BRAID_IMAGE_OK;
    case VP8_STATUS_OUT_OF_MEMORY:
      braid_say(message, "no memory for the WebP decoder");
      return BRAID_IMAGE_OUT_OF_MEMORY;
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      braid_say(message, "a WebP feature that is not read");
      return BRAID_IMAGE_UNSUPPORTED;
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA:
      braid_say(message, "the file ends too early");
      return BRAID_IMAGE_TRUNCATED;
    default: braid_say(message, "the WebP bitstream is damaged"); return BRAID_IMAGE_CORRUPT;
  }
}

braid_image_status braid_webp_read(const uint8_t *bytes, size_t count, braid_image_info *info, void *pixels,
                                   size_t pixel_bytes, braid_image_metadata *metadata, char *message) {
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config)) {
    braid_say(message, "libwebp does not match its headers");
    return BRAID_IMAGE_UNSUPPORTED;
  }
  braid_image_status status = explain(WebPGetFeatures(bytes, count, &config.input), message);
  if (status != BRAID_IMAGE_OK) return status;
  if (config.input.has_animation) {
    braid_say(message, "an animated WebP; extract a frame first");
    return BRAID_IMAGE_UNSUPPORTED;
  }
  *info = (braid_image_info){
      .width = (uint32_t)config.input.width,
      .height = (uint32_t)config.input.height,
      .channels = config.input.has_alpha ? 4 : 3,
      .sample_bytes = 1,
      .source_depth = 8,
      .orientation = 1,
  };
  if (!pixels) return BRAID_IMAGE_OK;
  if (braid_pixel_bytes(info) != pixel_bytes) {
    braid_say(message, "the header changed");
    return BRAID_IMAGE_CORRUPT;
  }
  config.output.colorspace = info->channels == 4 ? MODE_RGBA : MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = pixels;
  config.output.u.RGBA.stride = (int)info->width * info->channels;
  config.output.u.RGBA.size = pixel_bytes;
  status = explain(WebPDecode(bytes, count, &config), message);
  WebPFreeDecBuffer(&config.output);
  if (status == BRAID_IMAGE_OK && metadata) read_metadata(bytes, count, metadata);
  return status;
}
