// The text of braid_speech_last_error; not installed.
#pragma once

// Keeps the beginning of `text` for this thread.
void braid_speech_set_error(const char *text);
