#include <png.h>
#include <setjmp.h>

#include "common.h"

typedef struct {
  const uint8_t *bytes;
  size_t count, offset;
  braid_blob *output;
  size_t capacity;
  braid_image_status status;
  char *message;
} stream;

static void fail(png_structp png, png_const_charp text) {
  stream *s = png_get_error_ptr(png);
  if (s->status == BRAID_IMAGE_OK) s->status = BRAID_IMAGE_CORRUPT;
  braid_say(s->message, text);
  png_longjmp(png, 1);
}

static void ignore(png_structp png, png_const_charp text) {
  (void)png;
  (void)text;
}

static void stop(png_structp png, braid_image_status status, const char *text) {
  stream *s = png_get_error_ptr(png);
  s->status = status;
  png_error(png, text);
}

static void take(png_structp png, png_bytep target, size_t count) {
  stream *s = png_get_io_ptr(png);
  if (count > s->count - s->offset) stop(png, BRAID_IMAGE_TRUNCATED, "the file ends too early");
  memcpy(target, s->bytes + s->offset, count);
  s->offset += count;
}

// What a row holds once palettes, transparency keys and depths below 8 are expanded.
static void describe(png_structp png, png_infop png_info, braid_image_info *info) {
  int type = png_get_color_type(png, png_info);
  int alpha = (type & PNG_COLOR_MASK_ALPHA) || png_get_valid(png, png_info, PNG_INFO_tRNS);
  info->width = png_get_image_width(png, png_info);
  info->height = png_get_image_height(png, png_info);
  info->channels = ((type & PNG_COLOR_MASK_COLOR) ? 3 : 1) + (alpha ? 1 : 0);
  info->source_depth = png_get_bit_depth(png, png_info);
  info->sample_bytes = info->source_depth == 16 ? 2 : 1;
  info->orientation = 1;
  info->flags = type == PNG_COLOR_TYPE_PALETTE ? BRAID_IMAGE_PALETTE : 0;
}

static void read_metadata(png_structp png, png_infop info, braid_image_metadata *metadata) {
  png_charp name;
  int compression;
  png_bytep profile;
  png_uint_32 length;
  if (png_get_iCCP(png, info, &name, &compression, &profile, &length) == PNG_INFO_iCCP)
    braid_blob_copy(&metadata->icc, profile, length);
#ifdef PNG_eXIf_SUPPORTED
  png_bytep exif;
  if (png_get_eXIf_1(png, info, &length, &exif)) braid_blob_copy(&metadata->exif, exif, length);
#endif
}

static void read_all(png_structp png, png_infop png_info, braid_image_info *info, uint8_t *pixels,
                     size_t pixel_bytes, braid_image_metadata *metadata) {
  stream *s = png_get_error_ptr(png);
  // Text is neither used nor kept: not reading it also shuts out its decompression bombs.
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER,
                              (png_const_bytep) "tEXt\0zTXt\0iTXt\0sPLT\0hIST", 5);
  png_set_user_limits(png, 1u << 30, 1u << 30);
  png_set_chunk_malloc_max(png, 64u << 20);
  png_set_chunk_cache_max(png, 128);
  png_set_read_fn(png, s, take);
  png_read_info(png, png_info);
  describe(png, png_info, info);
  // Deflate shrinks by at most 1032: a header that promises more rows than the bytes can hold is a lie.
  uint64_t raw = (uint64_t)info->height * (png_get_rowbytes(png, png_info) + 1);
  if (raw / 1032 > s->count) {
    char text[160];
    snprintf(text, sizeof text, "the header declares %u x %u pixels, more than %zu bytes can hold", info->width,
             info->height, s->count);
    stop(png, BRAID_IMAGE_TRUNCATED, text);
  }
  if (!pixels) return;
  if (braid_pixel_bytes(info) != pixel_bytes) stop(png, BRAID_IMAGE_CORRUPT, "the header changed");
  png_set_expand(png);
  if (info->sample_bytes == 2) png_set_swap(png);
  int passes = png_set_interlace_handling(png);
  png_read_update_info(png, png_info);
  size_t row = (size_t)info->width * info->channels * info->sample_bytes;
  if (png_get_rowbytes(png, png_info) != row) stop(png, BRAID_IMAGE_CORRUPT, "unexpected row size");
  for (int pass = 0; pass < passes; pass++)
    for (uint32_t y = 0; y < info->height; y++) png_read_row(png, pixels + y * row, NULL);
  png_read_end(png, png_info);
  if (metadata) read_metadata(png, png_info, metadata);
}

braid_image_status braid_png_read(const uint8_t *bytes, size_t count, braid_image_info *info, void *pixels,
                                  size_t pixel_bytes, braid_image_metadata *metadata, char *message) {
  stream s = {.bytes = bytes, .count = count, .message = message};
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &s, fail, ignore);
  png_infop png_info = png ? png_create_info_struct(png) : NULL;
  if (!png_info) {
    png_destroy_read_struct(&png, NULL, NULL);
    braid_say(message, "no memory for the PNG decoder");
    return BRAID_IMAGE_OUT_OF_MEMORY;
  }
  // Only memory behind pointers changes after setjmp, so that nothing needs to be volatile.
  if (setjmp(png_jmpbuf(png)) == 0) read_all(png, png_info, info, pixels, pixel_bytes, metadata);
  png_destroy_read_struct(&png, &png_info, NULL);
  return s.status;
}

static void put(png_structp png, png_bytep source, size_t count) {
  stream *s = png_get_io_ptr(png);
  braid_blob *out = s->output;
  if (count > s->capacity - out->count) {
    size_t wanted = s->capacity * 2 > out->count + count ? s->capacity * 2 : out->count + count;
    uint8_t *larger = realloc(out->bytes, wanted);
    if (!larger) stop(png, BRAID_IMAGE_OUT_OF_MEMORY, "no memory for the encoded PNG");
    out->bytes = larger;
    s->capacity = wanted;
  }
  memcpy(out->bytes + out->count, source, count);
  out->count += count;
}

static void flush(png_structp png) { (void)png; }

static void write_all(png_structp png, png_infop png_info, const braid_image_info *info, const uint8_t *pixels,
                      const braid_image_metadata *metadata, int level) {
  static const int types[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                              PNG_COLOR_TYPE_RGB_ALPHA};
  png_set_write_fn(png, png_get_error_ptr(png), put, flush);
  png_set_benign_errors(png, 1);
  png_set_user_limits(png, 1u << 30, 1u << 30);
  png_set_compression_level(png, level);
  png_set_IHDR(png, png_info, info->width, info->height, info->sample_bytes * 8, types[info->channels - 1],
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (metadata && metadata->icc.count)
    png_set_iCCP(png, png_info, "ICC profile", PNG_COMPRESSION_TYPE_BASE, metadata->icc.bytes,
                 (png_uint_32)metadata->icc.count);
#ifdef PNG_eXIf_SUPPORTED
  if (metadata && metadata->exif.count)
    png_set_eXIf_1(png, png_info, (png_uint_32)metadata->exif.count, metadata->exif.bytes);
#endif
  png_write_info(png, png_info);
  if (info->sample_bytes == 2) png_set_swap(png);
  size_t row = (size_t)info->width * info->channels * info->sample_bytes;
  for (uint32_t y = 0; y < info->height; y++) png_write_row(png, pixels + y * row);
  png_write_end(png, png_info);
}

braid_image_status braid_png_write(const void *pixels, const braid_image_info *info,
                                   const braid_image_metadata *metadata, int level, braid_blob *output,
                                   char *message) {
  *output = (braid_blob){0};
  stream s = {.output = output, .message = message};
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &s, fail, ignore);
  png_infop png_info = png ? png_create_info_struct(png) : NULL;
  if (!png_info) {
    png_destroy_write_struct(&png, NULL);
    braid_say(message, "no memory for the PNG encoder");
    return BRAID_IMAGE_OUT_OF_MEMORY;
  }
  if (setjmp(png_jmpbuf(png)) == 0) write_all(png, png_info, info, pixels, metadata, level);
  png_destroy_write_struct(&png, &png_info);
  if (s.status != BRAID_IMAGE_OK) braid_blob_free(output);
  return s.status;
}
