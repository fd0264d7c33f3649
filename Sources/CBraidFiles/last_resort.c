#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "braid_files.h"
#include "braid_last_resort.h"

enum { TEXT_BYTES = 1001, PROBE_BYTES = 16 << 20 };

static char before_text[TEXT_BYTES], after_text[TEXT_BYTES];
static int line_descriptor = 2, line_exit_code = 69;
static atomic_flag ending = ATOMIC_FLAG_INIT;

void braid_last_resort_set(int descriptor, const char *before, const char *after, int exit_code) {
  strncpy(before_text, before, TEXT_BYTES - 1);
  strncpy(after_text, after, TEXT_BYTES - 1);
  line_descriptor = descriptor;
  line_exit_code = exit_code;
}

static char *append(char *end, const char *text) {
  const size_t length = strlen(text);
  memcpy(end, text, length);
  return end + length;
}

void braid_last_resort_memory(size_t bytes) {
  // Several threads may be refused at once: one tells.
  while (atomic_flag_test_and_set(&ending)) pause();
  braid_temporary_unlink_all();
  char line[2 * TEXT_BYTES + 40], *end = append(line, before_text);
  if (bytes) {
    char digits[24];
    int count = 0;
    for (; bytes; bytes /= 10) digits[count++] = (char)('0' + bytes % 10);
    while (count) *end++ = digits[--count];
    end = append(end, " bytes");
  } else {
    end = append(end, "more memory");
  }
  end = append(end, after_text);
  ssize_t ignored = write(line_descriptor, line, (size_t)(end - line));
  (void)ignored;
  _exit(line_exit_code);
}

static const int signals[] = {SIGABRT, SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE};
enum { SIGNALS = sizeof signals / sizeof *signals };
static struct sigaction earlier[SIGNALS];

static void crashed(int code) {
  const int error = errno;
  braid_temporary_unlink_all();
  // The runtime stops where an allocation fails: either the code is still there, or nothing more is to be had.
  void *probe = mmap(NULL, PROBE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (error == ENOMEM || probe == MAP_FAILED) braid_last_resort_memory(0);
  munmap(probe, PROBE_BYTES);
  // Back in the program the crash happens again, as it would have without this.
  for (int i = 0; i < SIGNALS; i++)
    if (signals[i] == code) sigaction(code, &earlier[i], NULL);
}

void braid_last_resort_catch_crashes(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = crashed;
  action.sa_flags = SA_ONSTACK;
  sigfillset(&action.sa_mask);
  for (int i = 0; i < SIGNALS; i++) sigaction(signals[i], &action, &earlier[i]);
}
