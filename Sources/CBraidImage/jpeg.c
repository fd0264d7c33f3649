#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>
#include <jerror.h>

#include "common.h"

enum { MAXIMUM_SCANS = 500 };

typedef struct {
  struct jpeg_error_mgr base;
  jmp_buf jump;
  struct jpeg_progress_mgr progress;
  braid_image_status status;
  uint32_t flags;
  char *message;
  uint8_t *row;                // CMYK samples of one row
  unsigned char *encoded;      // what jpeg_mem_dest has allocated
  unsigned long encoded_count;
} failure;

static void fail(j_common_ptr any) {
  failure *f = (failure *)any->err;
  char text[JMSG_LENGTH_MAX];
  any->err->format_message(any, text);
  braid_say(f->message, text);
  switch (any->err->msg_code) {
    case JERR_BAD_PRECISION:
    case JERR_SOF_UNSUPPORTED:
    case JERR_ARITH_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_BAD_J_COLORSPACE: f->status = BRAID_IMAGE_UNSUPPORTED; break;
    case JERR_OUT_OF_MEMORY: f->status = BRAID_IMAGE_OUT_OF_MEMORY; break;
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JERR_INPUT_EMPTY:
    case JERR_INPUT_EOF: f->status = BRAID_IMAGE_TRUNCATED; break;
    default: f->status = BRAID_IMAGE_CORRUPT;
  }
  longjmp(f->jump, 1);
}

// libjpeg fills what is missing with grey and warns; here a picture with missing or undecodable parts is an error.
static void warn(j_common_ptr any, int level) {
  failure *f = (failure *)any->err;
  if (level >= 0) return;
  switch (any->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_NOT_SEQUENTIAL: fail(any); break;
    default: f->flags |= BRAID_IMAGE_EXTRANEOUS;
  }
}

static void quiet(j_common_ptr any) { (void)any; }

// A small progressive file may ask for any number of passes over a large picture.
static void watch(j_common_ptr any) {
  if (!any->is_decompressor) return;
  if (((j_decompress_ptr)any)->input_scan_number > MAXIMUM_SCANS) {
    failure *f = (failure *)any->err;
    braid_say(f->message, "more than 500 scans");
    f->status = BRAID_IMAGE_CORRUPT;
    longjmp(f->jump, 1);
  }
}

static void prepare(failure *f, char *message) {
  memset(f, 0, sizeof *f);
  jpeg_std_error(&f->base);
  f->base.error_exit = fail;
  f->base.emit_message = warn;
  f->base.output_message = quiet;
  f->progress.progress_monitor = watch;
  f->message = message;
}

static void describe(j_decompress_ptr d, braid_image_info *info) {
  info->width = d->image_width;
  info->height = d->image_height;
  info->sample_bytes = 1;
  info->source_depth = d->data_precision;
  info->orientation = 1;
  info->flags = 0;
  switch (d->jpeg_color_space) {
    case JCS_GRAYSCALE:
      info->channels = 1;
      d->out_color_space = JCS_GRAYSCALE;
      break;
    case JCS_CMYK:
    case JCS_YCCK:
      info->channels = 3;
      info->flags |= BRAID_IMAGE_CMYK;
      d->out_color_space = JCS_CMYK;
      break;
    default:
      info->channels = 3;
      d->out_color_space = JCS_RGB;
  }
}

static uint8_t product(unsigned a, unsigned b) { return (uint8_t)((a * b + 127) / 255); }

// Adobe writes inks inverted (255 is no ink); others write them as they are.
static void cmyk_to_rgb(const uint8_t *cmyk, uint8_t *rgb, size_t width, int inverted) {
  unsigned flip = inverted ? 0 : 255;
  for (size_t x = 0; x < width; x++, cmyk += 4, rgb += 3) {
    unsigned white = cmyk[3] ^ flip;
    rgb[0] = product(cmyk[0] ^ flip, white);
    rgb[1] = product(cmyk[1] ^ flip, white);
    rgb[2] = product(cmyk[2] ^ flip, white);
  }
}

static void read_metadata(j_decompress_ptr d, braid_image_metadata *metadata, int cmyk) {
  for (jpeg_saved_marker_ptr m = d->marker_list; m; m = m->next)
    if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 && !memcmp(m->data, "Exif\0\0", 6))
      braid_blob_copy(&metadata->exif, m->data + 6, m->data_length - 6);
  JOCTET *profile;
  unsigned length;
  // A CMYK profile says nothing about the RGB samples that come out.
  if (!cmyk && !metadata->icc.bytes && jpeg_read_icc_profile(d, &profile, &length)) {
    metadata->icc.bytes = profile;
    metadata->icc.count = length;
  }
}

static void read_all(j_decompress_ptr d, failure *f, const uint8_t *bytes, size_t count, braid_image_info *info,
                     uint8_t *pixels, size_t pixel_bytes, braid_image_metadata *metadata) {
  jpeg_create_decompress(d);
  d->progress = &f->progress;
  jpeg_mem_src(d, bytes, count);
  jpeg_save_markers(d, JPEG_APP0 + 1, 0xFFFF);
  jpeg_save_markers(d, JPEG_APP0 + 2, 0xFFFF);
  jpeg_read_header(d, TRUE);
  describe(d, info);
  if (!pixels) return;
  if (braid_pixel_bytes(info) != pixel_bytes) {
    braid_say(f->message, "the header changed");
    f->status = BRAID_IMAGE_CORRUPT;
    longjmp(f->jump, 1);
  }
  jpeg_start_decompress(d);
  int cmyk = (info->flags & BRAID_IMAGE_CMYK) != 0;
  if (cmyk && !(f->row = malloc((size_t)info->width * 4))) ERREXIT1(d, JERR_OUT_OF_MEMORY, 0);
  size_t stride = (size_t)info->width * info->channels;
  while (d->output_scanline < d->output_height) {
    uint8_t *line = pixels + (size_t)d->output_scanline * stride;
    JSAMPROW row = cmyk ? f->row : line;
    if (jpeg_read_scanlines(d, &row, 1) != 1) ERREXIT(d, JERR_INPUT_EOF);
    if (cmyk) cmyk_to_rgb(f->row, line, info->width, d->saw_Adobe_marker);
  }
  if (metadata) read_metadata(d, metadata, cmyk);
  jpeg_finish_decompress(d);
}

braid_image_status braid_jpeg_read(const uint8_t *bytes, size_t count, braid_image_info *info, void *pixels,
                                   size_t pixel_bytes, braid_image_metadata *metadata, char *message) {
  failure f;
  struct jpeg_decompress_struct d;
  memset(&d, 0, sizeof d);
  prepare(&f, message);
  d.err = &f.base;
  // Only memory behind pointers changes after setjmp, so that nothing needs to be volatile.
  if (setjmp(f.jump) == 0) read_all(&d, &f, bytes, count, info, pixels, pixel_bytes, metadata);
  jpeg_destroy_decompress(&d);
  free(f.row);
  if (f.status == BRAID_IMAGE_OK) info->flags |= f.flags;
  return f.status;
}

static void write_all(j_compress_ptr c, failure *f, const uint8_t *pixels, const braid_image_info *info,
                      const braid_image_metadata *metadata, int quality, int full_colour) {
  jpeg_create_compress(c);
  jpeg_mem_dest(c, &f->encoded, &f->encoded_count);
  c->image_width = info->width;
  c->image_height = info->height;
  c->input_components = info->channels;
  c->in_color_space = info->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(c);
  jpeg_set_quality(c, quality, TRUE);
  if (full_colour && info->channels == 3) c->comp_info[0].h_samp_factor = c->comp_info[0].v_samp_factor = 1;
  c->optimize_coding = TRUE;
  jpeg_start_compress(c, TRUE);
  if (metadata && metadata->exif.count && metadata->exif.count + 6 <= 65533) {
    jpeg_write_m_header(c, JPEG_APP0 + 1, (unsigned)(metadata->exif.count + 6));
    for (int i = 0; i < 6; i++) jpeg_write_m_byte(c, "Exif\0\0"[i]);
    for (size_t i = 0; i < metadata->exif.count; i++) jpeg_write_m_byte(c, metadata->exif.bytes[i]);
  }
  if (metadata && metadata->icc.count)
    jpeg_write_icc_profile(c, metadata->icc.bytes, (unsigned)metadata->icc.count);
  size_t stride = (size_t)info->width * info->channels;
  while (c->next_scanline < c->image_height) {
    JSAMPROW row = (JSAMPROW)(pixels + (size_t)c->next_scanline * stride);
    jpeg_write_scanlines(c, &row, 1);
  }
  jpeg_finish_compress(c);
}

braid_image_status braid_jpeg_write(const void *pixels, const braid_image_info *info,
                                    const braid_image_metadata *metadata, int quality, int full_colour,
                                    braid_blob *output, char *message) {
  *output = (braid_blob){0};
  if (info->width > JPEG_MAX_DIMENSION || info->height > JPEG_MAX_DIMENSION) {
    braid_say(message, "JPEG holds at most 65500 x 65500 pixels");
    return BRAID_IMAGE_UNSUPPORTED;
  }
  failure f;
  struct jpeg_compress_struct c;
  memset(&c, 0, sizeof c);
  prepare(&f, message);
  c.err = &f.base;
  if (setjmp(f.jump) == 0) write_all(&c, &f, pixels, info, metadata, quality, full_colour);
  jpeg_destroy_compress(&c);
  if (f.status != BRAID_IMAGE_OK) {
    free(f.encoded);
    return f.status;
  }
  output->bytes = f.encoded;
  output->count = f.encoded_count;
  return BRAID_IMAGE_OK;
}
