#include "braid_image.h"

#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>
#include <tiffio.h>
#include <webp/decode.h>

enum { LIBRARIES = 4 };

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

const char *braid_image_library_name(int index) {
  static const char *const names[LIBRARIES] = {"libpng", "libjpeg", "libwebp", "libtiff"};
  return index >= 0 && index < LIBRARIES ? names[index] : 0;
}

const char *braid_image_library_version(int index) {
  static char webp[32], tiff[32];
  switch (index) {
    case 0: return png_get_libpng_ver(0);
#ifdef LIBJPEG_TURBO_VERSION
    case 1: return "turbo " TEXT(LIBJPEG_TURBO_VERSION);
#else
    case 1: return TEXT(JPEG_LIB_VERSION);
#endif
    case 2: {
      int version = WebPGetDecoderVersion();
      snprintf(webp, sizeof webp, "%d.%d.%d", version >> 16 & 255, version >> 8 & 255, version & 255);
      return webp;
    }
    case 3: {
      // "LIBTIFF, Version 4.5.0" and lines of copyright.
      const char *text = strstr(TIFFGetVersion(), "Version ");
      snprintf(tiff, sizeof tiff, "%.*s", text ? (int)strcspn(text + 8, "\n") : 0, text ? text + 8 : "");
      return tiff;
    }
    default: return 0;
  }
}
