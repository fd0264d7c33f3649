#include <stdio.h>

#include "braid_speech.h"
#include "braid_speech_error.h"

static _Thread_local char last_error[512];

void braid_speech_set_error(const char *text) { snprintf(last_error, sizeof last_error, "%s", text); }

const char *braid_speech_last_error(void) { return last_error; }
