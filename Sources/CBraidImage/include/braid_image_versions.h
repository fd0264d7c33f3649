#pragma once

// The libraries that pictures are read and written with, one after the other: the name and version of library `index`,
// or NULL past the last. The texts stay valid.
const char *braid_image_library_name(int index);
const char *braid_image_library_version(int index);
