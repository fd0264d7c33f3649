#include <stdarg.h>

#include <tiffio.h>

#include "common.h"

typedef struct {
  const uint8_t *bytes;
  uint64_t count, offset;
  braid_image_status status;
  char *message;
} source;

static tmsize_t take(thandle_t handle, void *target, tmsize_t count) {
  source *s = handle;
  if (count <= 0 || s->offset >= s->count) return 0;
  uint64_t n = (uint64_t)count < s->count - s->offset ? (uint64_t)count : s->count - s->offset;
  memcpy(target, s->bytes + s->offset, n);
  s->offset += n;
  return (tmsize_t)n;
}

static tmsize_t refuse(thandle_t handle, void *bytes, tmsize_t count) {
  (void)handle, (void)bytes, (void)count;
  return 0;
}

static toff_t seek(thandle_t handle, toff_t offset, int whence) {
  source *s = handle;
  if (whence == SEEK_SET) s->offset = offset;
  if (whence == SEEK_CUR) s->offset += offset;
  if (whence == SEEK_END) s->offset = s->count + offset;
  return s->offset;
}

static int close_nothing(thandle_t handle) {
  (void)handle;
  return 0;
}

static toff_t size(thandle_t handle) { return ((source *)handle)->count; }

static int map(thandle_t handle, void **base, toff_t *count) {
  source *s = handle;
  *base = (void *)s->bytes;
  *count = s->count;
  return 1;
}

static void unmap(thandle_t handle, void *base, toff_t count) { (void)handle, (void)base, (void)count; }

#if TIFFLIB_VERSION >= 20221213
static int keep_error(TIFF *tiff, void *user, const char *module, const char *format, va_list arguments) {
  (void)tiff, (void)module;
  source *s = user;
  // The first complaint is the cause; the rest follow from it.
  if (s->message && !s->message[0]) vsnprintf(s->message, BRAID_IMAGE_MESSAGE, format, arguments);
  return 1;
}
static int drop_warning(TIFF *tiff, void *user, const char *module, const char *format, va_list arguments) {
  (void)tiff, (void)user, (void)module, (void)format, (void)arguments;
  return 1;
}
#endif

static TIFF *open_bytes(source *s) {
#if TIFFLIB_VERSION >= 20221213
  TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
  if (!options) return NULL;
  TIFFOpenOptionsSetMaxSingleMemAlloc(options, (tmsize_t)1 << 31);
  TIFFOpenOptionsSetErrorHandlerExtR(options, keep_error, s);
  TIFFOpenOptionsSetWarningHandlerExtR(options, drop_warning, s);
  TIFF *tiff = TIFFClientOpenExt("image", "r", s, take, refuse, seek, close_nothing, size, map, unmap, options);
  TIFFOpenOptionsFree(options);
  return tiff;
#else
  TIFFSetErrorHandler(NULL);
  TIFFSetWarningHandler(NULL);
  return TIFFClientOpen("image", "r", s, take, refuse, seek, close_nothing, size, map, unmap);
#endif
}

typedef struct {
  uint32_t width, height;
  uint16_t depth, format, samples, photometric, planar, compression, orientation, alpha;  // alpha: EXTRASAMPLE_*
  int direct;            // read sample by sample; otherwise through libtiff's RGBA conversion
} layout;

static braid_image_status fail(source *s, braid_image_status status, const char *text) {
  if (s->message && !s->message[0]) braid_say(s->message, text);
  return status;
}

static braid_image_status read_layout(TIFF *tiff, source *s, layout *l) {
  uint16_t extra_count = 0, *extra = NULL;
  memset(l, 0, sizeof *l);
  if (!TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &l->width) || !TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &l->height) ||
      l->width == 0 || l->height == 0)
    return fail(s, BRAID_IMAGE_CORRUPT, "the TIFF states no width and height");
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &l->depth);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &l->format);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &l->samples);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &l->planar);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &l->compression);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &l->orientation);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &extra_count, &extra);
  if (!TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &l->photometric))
    l->photometric = l->samples >= 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK;
  if (l->orientation < 1 || l->orientation > 8) l->orientation = 1;
  int grey = l->photometric == PHOTOMETRIC_MINISBLACK || l->photometric == PHOTOMETRIC_MINISWHITE;
  int colour = l->photometric == PHOTOMETRIC_RGB;
  int base = colour ? 3 : 1;
  if (extra_count > 0 && extra && l->samples > base) {
    l->alpha = extra[0];
    // Photoshop and others leave the kind open; a fourth channel of RGB is alpha in practice.
    if (l->alpha == EXTRASAMPLE_UNSPECIFIED && l->samples == 4 && colour) l->alpha = EXTRASAMPLE_UNASSALPHA;
  }
  int whole = l->format == SAMPLEFORMAT_UINT && (l->depth == 8 || l->depth == 16);
  int real = l->format == SAMPLEFORMAT_IEEEFP && l->depth == 32;
  l->direct = (grey || colour) && l->samples >= base && l->samples <= 16 && (whole || real) &&
              l->compression != COMPRESSION_JPEG && l->compression != COMPRESSION_OJPEG;
  if (!l->direct && (l->depth > 16 || l->format == SAMPLEFORMAT_IEEEFP || l->format == SAMPLEFORMAT_INT)) {
    char text[120];
    snprintf(text, sizeof text, "a TIFF of %u-bit samples of format %u, photometric %u", l->depth, l->format,
             l->photometric);
    return fail(s, BRAID_IMAGE_UNSUPPORTED, text);
  }
  return BRAID_IMAGE_OK;
}

static void describe(const layout *l, braid_image_info *info) {
  memset(info, 0, sizeof *info);
  info->width = l->width;
  info->height = l->height;
  info->orientation = l->orientation;
  info->source_depth = l->depth;
  if (l->direct) {
    int alpha = l->alpha == EXTRASAMPLE_ASSOCALPHA || l->alpha == EXTRASAMPLE_UNASSALPHA;
    info->channels = (l->photometric == PHOTOMETRIC_RGB ? 3 : 1) + alpha;
    info->sample_bytes = l->depth == 8 ? 1 : 2;
    if (l->format == SAMPLEFORMAT_IEEEFP) info->flags |= BRAID_IMAGE_FLOAT;
  } else {
    int grey = l->photometric == PHOTOMETRIC_MINISBLACK || l->photometric == PHOTOMETRIC_MINISWHITE;
    info->channels = grey ? 1 : 3;
    info->sample_bytes = 1;
    if (l->photometric == PHOTOMETRIC_PALETTE) info->flags |= BRAID_IMAGE_PALETTE;
    if (l->photometric == PHOTOMETRIC_SEPARATED) info->flags |= BRAID_IMAGE_CMYK;
  }
}

static uint16_t rounded(float value) {
  if (!(value > 0)) return 0;   // NaN too
  return value >= 1 ? 65535 : (uint16_t)(value * 65535.0f + 0.5f);
}

// Moves `count` pixels from a strip or tile row into the picture. `from` holds `stride` samples a pixel; channels
// [first, first + n) of the picture are written.
static void move_row(const layout *l, const braid_image_info *info, const uint8_t *from, int stride, uint8_t *to,
                     int first, int n, size_t count) {
  int channels = info->channels;
  if (l->depth == 8) {
    for (size_t x = 0; x < count; x++)
      for (int c = 0; c < n; c++) to[x * channels + first + c] = from[x * stride + c];
  } else if (l->depth == 16) {
    const uint16_t *from16 = (const uint16_t *)from;
    uint16_t *to16 = (uint16_t *)to;
    for (size_t x = 0; x < count; x++)
      for (int c = 0; c < n; c++) to16[x * channels + first + c] = from16[x * stride + c];
  } else {
    const float *reals = (const float *)from;
    uint16_t *to16 = (uint16_t *)to;
    for (size_t x = 0; x < count; x++)
      for (int c = 0; c < n; c++) to16[x * channels + first + c] = rounded(reals[x * stride + c]);
  }
}

static braid_image_status read_direct(TIFF *tiff, source *s, const layout *l, const braid_image_info *info,
                                      uint8_t *pixels) {
  int tiled = TIFFIsTiled(tiff), separate = l->planar == PLANARCONFIG_SEPARATE;
  int planes = separate ? info->channels : 1;
  int stride = separate ? 1 : l->samples, moved = separate ? 1 : info->channels;
  size_t sample = l->depth / 8, row_bytes = (size_t)info->width * info->channels * info->sample_bytes;
  uint32_t block_width = l->width, block_height = l->height;
  if (tiled) {
    if (!TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &block_width) ||
        !TIFFGetField(tiff, TIFFTAG_TILELENGTH, &block_height))
      return fail(s, BRAID_IMAGE_CORRUPT, "the TIFF states no tile size");
  } else {
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &block_height);
    if (block_height > l->height) block_height = l->height;
  }
  if (block_width == 0 || block_height == 0) return fail(s, BRAID_IMAGE_CORRUPT, "empty strips or tiles");
  tmsize_t block_bytes = tiled ? TIFFTileSize(tiff) : TIFFStripSize(tiff);
  size_t line = (size_t)block_width * stride * sample, needed;
  if (__builtin_mul_overflow(line, (size_t)block_height, &needed) || block_bytes <= 0 ||
      needed > (size_t)block_bytes)
    return fail(s, BRAID_IMAGE_CORRUPT, "strips or tiles of an impossible size");
  if ((uint64_t)block_bytes > ((uint64_t)1 << 31))
    return fail(s, BRAID_IMAGE_OUT_OF_MEMORY, "strips or tiles of more than 2 GiB");
  uint8_t *block = malloc((size_t)block_bytes);
  if (!block) return fail(s, BRAID_IMAGE_OUT_OF_MEMORY, "no memory for a strip of the TIFF");
  braid_image_status status = BRAID_IMAGE_OK;
  for (int plane = 0; plane < planes && status == BRAID_IMAGE_OK; plane++)
    for (uint32_t y = 0; y < l->height && status == BRAID_IMAGE_OK; y += block_height) {
      uint32_t rows = l->height - y < block_height ? l->height - y : block_height;
      for (uint32_t x = 0; x < l->width; x += block_width) {
        uint32_t columns = l->width - x < block_width ? l->width - x : block_width;
        tmsize_t got, wanted = (tmsize_t)(line * (tiled ? block_height : rows));
        if (tiled)
          got = TIFFReadEncodedTile(tiff, TIFFComputeTile(tiff, x, y, 0, (uint16_t)plane), block, block_bytes);
        else
          got = TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, y, (uint16_t)plane), block, wanted);
        if (got < wanted) {
          status = fail(s, BRAID_IMAGE_TRUNCATED, "a strip or tile is incomplete");
          break;
        }
        for (uint32_t row = 0; row < rows; row++)
          move_row(l, info, block + line * row, stride,
                   pixels + row_bytes * (y + row) + (size_t)x * info->channels * info->sample_bytes, plane, moved,
                   columns);
        if (block_width >= l->width - x) break;
      }
      if (block_height >= l->height - y) break;
    }
  free(block);
  return status;
}

// 0 is white in such files.
static void invert(const braid_image_info *info, uint8_t *pixels) {
  size_t count = (size_t)info->width * info->height;
  for (size_t i = 0; i < count; i++) {
    if (info->sample_bytes == 1) pixels[i * info->channels] ^= 0xFF;
    else ((uint16_t *)pixels)[i * info->channels] ^= 0xFFFF;
  }
}

// Divides colours by their alpha: straight alpha is what every part of Braid takes.
static void make_straight(const braid_image_info *info, uint8_t *pixels) {
  size_t count = (size_t)info->width * info->height;
  int colours = info->channels - 1;
  uint32_t top = info->sample_bytes == 1 ? 255 : 65535;
  for (size_t i = 0; i < count; i++) {
    uint8_t *p8 = pixels + i * info->channels;
    uint16_t *p16 = (uint16_t *)pixels + i * info->channels;
    uint32_t alpha = info->sample_bytes == 1 ? p8[colours] : p16[colours];
    if (alpha == 0 || alpha == top) continue;
    for (int c = 0; c < colours; c++) {
      uint32_t value = info->sample_bytes == 1 ? p8[c] : p16[c];
      value = (uint32_t)(((uint64_t)value * top + alpha / 2) / alpha);
      if (value > top) value = top;
      if (info->sample_bytes == 1) p8[c] = (uint8_t)value;
      else p16[c] = (uint16_t)value;
    }
  }
}

static braid_image_status read_converted(TIFF *tiff, source *s, const layout *l, const braid_image_info *info,
                                         uint8_t *pixels) {
  char text[1024] = "";
  if (!TIFFRGBAImageOK(tiff, text)) return fail(s, BRAID_IMAGE_UNSUPPORTED, text);
  size_t count = (size_t)l->width * l->height;
  uint32_t *raster = calloc(count, sizeof *raster);
  if (!raster) return fail(s, BRAID_IMAGE_OUT_OF_MEMORY, "no memory for the TIFF");
  // Asking for the file's own orientation leaves the rows as they are stored.
  if (!TIFFReadRGBAImageOriented(tiff, l->width, l->height, raster, l->orientation, 1)) {
    free(raster);
    return fail(s, BRAID_IMAGE_CORRUPT, "the TIFF's samples cannot be decoded");
  }
  for (size_t i = 0; i < count; i++) {
    uint8_t *p = pixels + i * info->channels;
    p[0] = (uint8_t)TIFFGetR(raster[i]);
    if (info->channels == 3) {
      p[1] = (uint8_t)TIFFGetG(raster[i]);
      p[2] = (uint8_t)TIFFGetB(raster[i]);
    }
  }
  free(raster);
  return BRAID_IMAGE_OK;
}

braid_image_status braid_tiff_read(const uint8_t *bytes, size_t count, braid_image_info *info, void *pixels,
                                   size_t pixel_bytes, braid_image_metadata *metadata, char *message) {
  source s = {.bytes = bytes, .count = count, .message = message};
  if (message) message[0] = 0;
  TIFF *tiff = open_bytes(&s);
  if (!tiff) return fail(&s, BRAID_IMAGE_CORRUPT, "not a readable TIFF");
  layout l;
  braid_image_status status = read_layout(tiff, &s, &l);
  if (status == BRAID_IMAGE_OK) {
    describe(&l, info);
    if (pixels && braid_pixel_bytes(info) != pixel_bytes)
      status = fail(&s, BRAID_IMAGE_CORRUPT, "the header changed");
  }
  if (status == BRAID_IMAGE_OK && pixels) {
    status = l.direct ? read_direct(tiff, &s, &l, info, pixels) : read_converted(tiff, &s, &l, info, pixels);
    if (status == BRAID_IMAGE_OK && l.direct) {
      if (l.photometric == PHOTOMETRIC_MINISWHITE) invert(info, pixels);
      if (l.alpha == EXTRASAMPLE_ASSOCALPHA) make_straight(info, pixels);
    }
    uint32_t length;
    void *profile;
    if (status == BRAID_IMAGE_OK && metadata && !(info->flags & BRAID_IMAGE_CMYK) &&
        TIFFGetField(tiff, TIFFTAG_ICCPROFILE, &length, &profile))
      braid_blob_copy(&metadata->icc, profile, length);
    if (status == BRAID_IMAGE_OK && TIFFReadDirectory(tiff)) info->flags |= BRAID_IMAGE_MORE_PAGES;
  }
  TIFFClose(tiff);
  if (status == BRAID_IMAGE_OK && message) message[0] = 0;
  return status;
}
