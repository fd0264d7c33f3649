// Braid's speech enhancement as a stream: 10 ms of noisy speech in, 10 ms of clean speech out, 30 ms of latency.
//
//   braid_speech_stream *stream;
//   if (braid_speech_create(NULL, &stream)) { puts(braid_speech_last_error()); exit(1); }
//   while (next_frame(in)) { braid_speech_process(stream, in, out, braid_speech_frame_size(stream)); play(out); }
//   braid_speech_destroy(stream);
//
// Samples are float, mono, BRAID_SPEECH_RATE a second, in any scale. Work is done by the calling thread;
// braid_speech_process takes no memory and no locks. A stream serves one thread at a time, different streams any.
// No function ends the process for what it is given: each says what is wrong, and braid_speech_last_error in words.
#ifndef BRAID_SPEECH_H
#define BRAID_SPEECH_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  BRAID_SPEECH_OK = 0,
  BRAID_SPEECH_INVALID_ARGUMENT = 1,  // a pointer is NULL or a size is wrong; nothing was done
  BRAID_SPEECH_NO_MODEL = 2,          // there is no such model, its file is broken, or it cannot work on a stream
  BRAID_SPEECH_BAD_STATE = 3          // saved by another model or version, or damaged; nothing was done
} braid_speech_status;

// Samples a second.
#define BRAID_SPEECH_RATE 16000
// The model that ships with the library.
#define BRAID_SPEECH_STANDARD_MODEL "enhance-s-stream"

typedef struct braid_speech_stream braid_speech_stream;

// Makes a stream, to be given to braid_speech_destroy.
// model: the name of a model, or the path of a saved one; NULL is the standard model.
braid_speech_status braid_speech_create(const char *model, braid_speech_stream **stream);

// Samples that are processed at a time: 160. 0 where stream is NULL.
size_t braid_speech_frame_size(const braid_speech_stream *stream);
// Samples by which the output of braid_speech_process lags behind its input: 320. With the frame that must be complete
// before it is processed, that is a latency of 480 samples, 30 ms. 0 where stream is NULL.
size_t braid_speech_delay(const braid_speech_stream *stream);

// Enhances one frame; input and output may be the same. Samples that are not finite count as 0.
// samples: braid_speech_frame_size(stream).
braid_speech_status braid_speech_process(braid_speech_stream *stream, const float *input, float *output,
                                         size_t samples);
// Writes the last samples of a signal, braid_speech_delay(stream) of them, and starts a new signal.
// capacity: at least braid_speech_delay(stream).
braid_speech_status braid_speech_flush(braid_speech_stream *stream, float *output, size_t capacity);
// Starts a new signal.
braid_speech_status braid_speech_reset(braid_speech_stream *stream);

// Bytes of a saved state; 0 where stream is NULL.
size_t braid_speech_state_size(const braid_speech_stream *stream);
// Writes the state, from which a stream of the same model goes on with the same samples.
// size: braid_speech_state_size(stream).
braid_speech_status braid_speech_save(const braid_speech_stream *stream, void *state, size_t size);
braid_speech_status braid_speech_restore(braid_speech_stream *stream, const void *state, size_t size);

// What the last failure on this thread was, "" where there was none; valid until the next failure on it.
const char *braid_speech_last_error(void);

// NULL is allowed.
void braid_speech_destroy(braid_speech_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
