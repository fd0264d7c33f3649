# make demo      restore a sample picture with a model that ships in the binary
# make demo-enhance   clean a recording made by espeak-ng and a program of noise
# make test      all tests
# make bench     speed and memory, beside PyTorch (from PyPI) and alone; QUICK=1 takes little of everything, once
# make install   the command, and the speech library for C, into PREFIX (default /usr/local)
# make uninstall   take away from PREFIX what install puts there
# make deps      the Debian packages that the others need (they call it themselves)

SWIFT  ?= swift
PREFIX ?= /usr/local
PYTHON ?= python3
# What the parts of `make bench` are asked for.
ifdef QUICK
BENCH          ?= --runs 1 --models hat-s-x4
BENCH_LANGUAGE ?= --runs 1 --prefill 256 --decode 4
BENCH_SPEECH   ?= --runs 1 --seconds 1 --long 4
BENCH_MIXERS   ?= --quick
BENCH_GROWTH   ?= --length 4
else
BENCH ?= --long
endif
# One set of flags for command and tests, so that neither rebuilds what the other built.
FLAGS  := -c release -Xswiftc -enable-testing
BIN     = $(shell $(SWIFT) build $(FLAGS) --show-bin-path)
BRAID   = $(BIN)/braid
OUT    ?= out

PACKAGES := libpng-dev libjpeg-dev libwebp-dev libtiff-dev libkissfft-dev libsndfile1-dev libsamplerate0-dev \
            pkg-config

.PHONY: help deps build demo demo-enhance test lint bench install uninstall clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

deps:
	@missing=""; \
	for package in $(PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	  echo "Installing:$$missing"; \
	  if [ "$$(id -u)" = 0 ]; then run=""; \
	  elif command -v sudo >/dev/null 2>&1; then run=sudo; \
	  else echo "make deps needs root or sudo to install:$$missing" >&2; exit 1; fi; \
	  $$run apt-get update -qq && $$run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing || \
	  { echo "apt-get could not install:$$missing" >&2; exit 1; }; \
	fi; \
	command -v $(SWIFT) >/dev/null 2>&1 || { echo "Swift 6.1 or newer is needed: https://www.swift.org/install" >&2; exit 1; }

build: deps
	$(SWIFT) build $(FLAGS) --product braid

demo: deps
	$(SWIFT) build $(FLAGS) --product make-sample
	$(SWIFT) build $(FLAGS) --product restore-example
	@mkdir -p $(OUT)
	$(BIN)/make-sample $(OUT)
	$(BIN)/restore-example $(OUT)/scene-noisy.png $(OUT)/scene.png $(OUT)

TEXT := The north wind and the sun were disputing which was the stronger, when a traveller came along wrapped in a warm cloak.
demo-enhance: PACKAGES += espeak-ng
demo-enhance: build
	$(SWIFT) build $(FLAGS) --product make-speech
	@mkdir -p $(OUT)
	espeak-ng -v en -s 150 -w $(OUT)/speech.wav "$(TEXT)"
	$(BIN)/make-speech $(OUT)/speech.wav $(OUT)
	$(BRAID) enhance $(OUT)/noisy.wav -o $(OUT)/enhanced.wav --overwrite --reference $(OUT)/clean.wav \
	  --spectrogram $(OUT)/enhance.png

test: deps
	$(SWIFT) build $(FLAGS) --build-tests
	$(SWIFT) test $(FLAGS) --skip-build

lint:
	$(SWIFT) format lint --strict --recursive Package.swift Sources Tests Examples datasets

bench: PACKAGES += python3 python3-venv
bench: build
	$(PYTHON) Benchmarks/bench.py --braid $(BRAID) $(BENCH)
	$(PYTHON) Benchmarks/language.py --braid $(BRAID) $(BENCH_LANGUAGE)
	$(PYTHON) Benchmarks/speech.py --braid $(BRAID) $(BENCH_SPEECH)
	$(PYTHON) Benchmarks/mixers.py --braid $(BRAID) $(BENCH_MIXERS)
	@mkdir -p $(OUT)
	$(BRAID) bench growth $(BENCH_GROWTH) --plot $(OUT)/growth.png

# The Swift runtime is part of what is installed: neither the command nor a program that uses the library needs Swift.
# The second flag does for the library what the first does for commands alone.
VERSION = $(shell sed -n 's/.*text = "\(.*\)".*/\1/p' Sources/Braid/BraidVersion.swift)
STATIC := -c release --static-swift-stdlib -Xswiftc -static-stdlib --scratch-path .build/install
install: deps
	$(SWIFT) build $(STATIC) -Xlinker -s --product braid
	$(SWIFT) build $(STATIC) -Xlinker -s -Xlinker --version-script=$(CURDIR)/Sources/CBraidSpeech/exports.map \
	  --product braid_speech
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include
	install -m 755 "$$($(SWIFT) build $(STATIC) --show-bin-path)/braid" $(DESTDIR)$(PREFIX)/bin/braid
	install -m 755 "$$($(SWIFT) build $(STATIC) --show-bin-path)/libbraid_speech.so" $(DESTDIR)$(PREFIX)/lib/libbraid_speech.so
	install -m 644 Sources/CBraidSpeech/include/braid_speech.h $(DESTDIR)$(PREFIX)/include/braid_speech.h
	printf '%s\n' 'prefix=$(abspath $(PREFIX))' 'libdir=$${prefix}/lib' 'includedir=$${prefix}/include' '' \
	  'Name: braid_speech' 'Description: Speech enhancement as a stream' 'Version: $(VERSION)' \
	  'Libs: -L$${libdir} -lbraid_speech' 'Cflags: -I$${includedir}' \
	  > $(DESTDIR)$(PREFIX)/lib/pkgconfig/braid_speech.pc
	chmod 644 $(DESTDIR)$(PREFIX)/lib/pkgconfig/braid_speech.pc

uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,bin/braid lib/libbraid_speech.so include/braid_speech.h \
	  lib/pkgconfig/braid_speech.pc)

clean:
	rm -rf .build $(OUT)
