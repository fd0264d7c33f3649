// Enhances a microphone: raw 16-bit samples, mono, 16 kHz, little endian, from a FIFO (or any file, or standard input)
// to standard output, 10 ms at a time.
//
//   mkfifo /tmp/microphone
//   arecord -t raw -f S16_LE -r 16000 > /tmp/microphone &
//   microphone /tmp/microphone | aplay -t raw -f S16_LE -r 16000
#include <braid_speech.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { FRAME = 160, DELAY = 320 };

static int write_samples(const float *samples, size_t count) {
  int16_t pcm[DELAY];
  for (size_t i = 0; i < count; i++) {
    float value = roundf(samples[i] * 32768.0f);
    pcm[i] = (int16_t)(value < -32768.0f ? -32768.0f : value > 32767.0f ? 32767.0f : value);
  }
  // A listener wants each frame at once.
  return fwrite(pcm, sizeof pcm[0], count, stdout) == count && fflush(stdout) == 0;
}

int main(int count, char **arguments) {
  if (count > 3) {
    fprintf(stderr, "usage: microphone [FIFO|-] [MODEL]\n");
    return 64;
  }
  const char *path = count > 1 ? arguments[1] : "-";
  FILE *input = path[0] == '-' && path[1] == 0 ? stdin : fopen(path, "rb");
  if (!input) {
    perror(path);
    return 66;
  }
  braid_speech_stream *stream;
  if (braid_speech_create(count > 2 ? arguments[2] : NULL, &stream)) {
    fprintf(stderr, "microphone: %s\n", braid_speech_last_error());
    return 69;
  }
  if (braid_speech_frame_size(stream) != FRAME || braid_speech_delay(stream) > DELAY) {
    fprintf(stderr, "microphone: a model with other frames\n");
    return 69;
  }
  int16_t pcm[FRAME];
  float frame[DELAY];
  size_t read, skipped = braid_speech_delay(stream), lost = 0;
  // The first frames out lie before the first sample; what is held back at the end makes up for them.
  do {
    read = fread(pcm, sizeof pcm[0], FRAME, input);
    for (size_t i = 0; i < FRAME; i++) frame[i] = i < read ? pcm[i] / 32768.0f : 0.0f;
    if (read == 0) break;
    braid_speech_process(stream, frame, frame, FRAME);
    lost = FRAME - read;
    if (skipped) skipped -= FRAME;
    else if (!write_samples(frame, FRAME)) return 74;
  } while (read == FRAME);
  size_t held = braid_speech_delay(stream);
  braid_speech_flush(stream, frame, DELAY);
  // A short signal has not filled the delay; a last frame in part was filled up with zeros.
  if (!write_samples(frame + skipped, held - skipped - (lost < held - skipped ? lost : held - skipped))) return 74;
  braid_speech_destroy(stream);
  return 0;
}
