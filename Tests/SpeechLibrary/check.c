// The C interface from C: sizes, bad arguments, states. Exit code 0 where everything holds.
#include <braid_speech.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                       \
  do {                                                                         \
    if (!(condition)) {                                                        \
      fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, braid_speech_last_error()); \
      exit(1);                                                                 \
    }                                                                          \
  } while (0)

enum { FRAME = 160, FRAMES = 100 };

// What the library takes from the heap is counted here.
static _Atomic long taken;
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void *malloc(size_t size) { return taken++, __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return taken++, __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { return taken++, __libc_realloc(old, size); }
void *aligned_alloc(size_t alignment, size_t size) { return taken++, __libc_memalign(alignment, size); }
int posix_memalign(void **block, size_t alignment, size_t size) {
  taken++;
  return (*block = __libc_memalign(alignment, size)) ? 0 : 12;
}

static void fill(float *frame, unsigned *seed) {
  for (int i = 0; i < FRAME; i++) {
    *seed = *seed * 1664525u + 1013904223u;
    frame[i] = ((float)(*seed >> 8) / 16777216.0f - 0.5f) * 0.2f;
  }
}

int main(int count, char **arguments) {
  const char *model = count > 1 ? arguments[1] : NULL;
  braid_speech_stream *stream = NULL, *other = NULL;
  CHECK(braid_speech_last_error()[0] == 0);
  CHECK(braid_speech_create(model, NULL) == BRAID_SPEECH_INVALID_ARGUMENT);
  CHECK(braid_speech_create("no-such-model", &stream) == BRAID_SPEECH_NO_MODEL && stream == NULL);
  CHECK(strstr(braid_speech_last_error(), "no-such-model"));
  CHECK(braid_speech_create("/no/such/file.safetensors", &stream) == BRAID_SPEECH_NO_MODEL);
  CHECK(braid_speech_create("contrast-s-denoise", &stream) == BRAID_SPEECH_NO_MODEL);
  CHECK(braid_speech_create(model, &stream) == BRAID_SPEECH_OK && stream);
  CHECK(braid_speech_create(model, &other) == BRAID_SPEECH_OK && other);
  CHECK(braid_speech_frame_size(stream) == FRAME && braid_speech_frame_size(NULL) == 0);
  CHECK(braid_speech_delay(stream) == 320 && braid_speech_delay(NULL) == 0);

  float in[FRAME], out[FRAME], again[FRAME], tail[320];
  unsigned seed = 1;
  fill(in, &seed);
  CHECK(braid_speech_process(NULL, in, out, FRAME) == BRAID_SPEECH_INVALID_ARGUMENT);
  CHECK(braid_speech_process(stream, NULL, out, FRAME) == BRAID_SPEECH_INVALID_ARGUMENT);
  CHECK(braid_speech_process(stream, in, NULL, FRAME) == BRAID_SPEECH_INVALID_ARGUMENT);
  CHECK(braid_speech_process(stream, in, out, 0) == BRAID_SPEECH_INVALID_ARGUMENT);
  CHECK(braid_speech_process(stream, in, out, FRAME + 1) == BRAID_SPEECH_INVALID_ARGUMENT);
  CHECK(braid_speech_process(stream, in, out, (size_t)-1) == BRAID_SPEECH_INVALID_ARGUMENT);
  CHECK(braid_speech_flush(stream, NULL, 320) == BRAID_SPEECH_INVALID_ARGUMENT);
  CHECK(braid_speech_flush(stream, tail, 319) == BRAID_SPEECH_INVALID_ARGUMENT);
  CHECK(braid_speech_reset(NULL) == BRAID_SPEECH_INVALID_ARGUMENT);

  // Two streams agree, in place or not; a saved state goes on with the same samples.
  const size_t size = braid_speech_state_size(stream);
  CHECK(size > 0 && braid_speech_state_size(NULL) == 0);
  unsigned char *state = malloc(size);
  float energy = 0;
  for (int t = 0; t < FRAMES; t++) {
    fill(in, &seed);
    const long before = taken;
    CHECK(braid_speech_process(stream, in, out, FRAME) == BRAID_SPEECH_OK);
    CHECK(taken == before);
    if (t == FRAMES / 2) {
      CHECK(braid_speech_save(NULL, state, size) == BRAID_SPEECH_INVALID_ARGUMENT);
      CHECK(braid_speech_save(stream, NULL, size) == BRAID_SPEECH_INVALID_ARGUMENT);
      CHECK(braid_speech_save(stream, state, size - 1) == BRAID_SPEECH_INVALID_ARGUMENT);
      CHECK(braid_speech_save(stream, state, size) == BRAID_SPEECH_OK);
      CHECK(braid_speech_restore(other, state, size) == BRAID_SPEECH_OK);
    } else if (t > FRAMES / 2) {
      memcpy(again, in, sizeof in);
      CHECK(braid_speech_process(other, again, again, FRAME) == BRAID_SPEECH_OK);
      CHECK(memcmp(out, again, sizeof out) == 0);
      for (int i = 0; i < FRAME; i++) energy += out[i] * out[i];
    }
  }
  CHECK(energy > 0);
  CHECK(braid_speech_restore(other, state, size + 1) == BRAID_SPEECH_INVALID_ARGUMENT);
  CHECK(braid_speech_restore(other, NULL, size) == BRAID_SPEECH_INVALID_ARGUMENT);
  state[0] ^= 1;
  CHECK(braid_speech_restore(other, state, size) == BRAID_SPEECH_BAD_STATE);
  state[0] ^= 1;
  memset(state + size / 2, 0xff, 64);  // not a number
  CHECK(braid_speech_restore(other, state, size) == BRAID_SPEECH_BAD_STATE);
  fill(in, &seed);
  CHECK(braid_speech_process(stream, in, out, FRAME) == BRAID_SPEECH_OK);
  CHECK(braid_speech_process(other, in, again, FRAME) == BRAID_SPEECH_OK);
  CHECK(memcmp(out, again, sizeof out) == 0);

  CHECK(braid_speech_flush(stream, tail, 320) == BRAID_SPEECH_OK);
  memset(in, 0, sizeof in);
  CHECK(braid_speech_process(stream, in, out, FRAME) == BRAID_SPEECH_OK);
  for (int i = 0; i < FRAME; i++) CHECK(out[i] == 0.0f);
  free(state);
  braid_speech_destroy(stream);
  braid_speech_destroy(other);
  braid_speech_destroy(NULL);
  puts("the speech library holds");
  return 0;
}
