# The project's vocabulary. `make demo` and `make test` need nothing but Debian, Python and make.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# What tests use from Debian: a real broker, tracing, stock tools that open an envelope, a browser
# that looks at the report, the voices of the neighbours, what reads overlays, scripts and man pages,
# and the shells that complete.
TEST_PACKAGES := mosquitto strace age curl flac jq openssl faketime libportaudio2 chromium \
    espeak-ng device-tree-compiler shellcheck gcc libc6-dev groff-base zsh fish

# At another date (`faketime -f +400d make test`, `make calendar`) the monotonic clock and the times
# of files stay true. libfaketime 0.9.10 does not know sem_clockwait, by which Python's locks wait,
# and with a shifted monotonic clock they would wait for 400 days; a shifted mtime would make every
# .pyc stale. Python's sleep then needs tests/faketime/sleep.c.
export FAKETIME_DONT_FAKE_MONOTONIC := 1
export NO_FAKE_STAT := 1
SLEEP := $(CURDIR)/build/sleep.so
FAKED := $(if $(findstring libfaketime,$(LD_PRELOAD)),env LD_PRELOAD=$(SLEEP):$(LD_PRELOAD))

.PHONY: help setup demo test unit calendar compat fuzz system-units lint format reference bench rates soak day fixtures lock deb release deb-check arm64 vm power-cut image clean

help: ## say what each target does
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## make the virtual environment

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'earmark: error: $(PYTHON) is older than 3.11' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq python3-venv; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Debian packages that are missing, and only those; their daemons are not started.
.PHONY: debian
debian:
	@missing=$$(for p in $(TEST_PACKAGES); do \
	    dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	    $(SUDO) apt-get update -qq && \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	fi

demo: setup ## see the whole promise kept, with no hardware
	@$(BIN)/earmark demo

test: setup debian $(if $(FAKED),$(SLEEP)) ## unit and system tests, with coverage
	$(BIN)/coverage erase
	$(FAKED) $(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

.PHONY: overlays
overlays: ## boot Debian's kernel on an emulated Pi 3B with our overlays (needs qemu-system-arm, kmod)
	tests/firmware/boot-overlays build/overlays

# The tests that need no processes, servers or recordings.
UNIT := --numprocesses auto --dist worksteal --hypothesis-profile quick \
    -m 'not system and not device and not recordings and not units'

unit: setup $(if $(FAKED),$(SLEEP)) ## the fast tests only: no processes, servers or recordings; half a minute
	$(FAKED) $(BIN)/pytest $(UNIT)

# In 400 days, on a leap day, over both changes of summer time, in 1970 (a speaker whose clock has no
# battery) and after 2038. Offsets, since one of the moments has no local time that names it alone.
calendar: setup debian $(SLEEP) ## the fast tests at six other dates; some minutes
	@while read -r date; do \
	    echo "== $$date"; \
	    TZ=CET-1CEST,M3.5.0,M10.5.0/3 LD_PRELOAD=$(SLEEP) \
	        faketime -f "$$(printf %+d $$(($$(date -d "$$date" +%s) - $$(date +%s))))" \
	        $(BIN)/pytest -q $(UNIT) </dev/null || exit 1; \
	done <tests/faketime/dates

$(SLEEP): tests/faketime/sleep.c
	@mkdir -p $(@D)
	gcc -shared -fPIC -O2 -Wall -Werror -o $@ $<

compat: setup ## the fast tests with the lowest and the newest dependencies (Python 3.11, 3.13)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/python -m tests.compat $(UNIT)

fuzz: setup debian ## ask the archive's API what make test did not ask; half a minute
	EARMARK_FUZZ=$$(date +%s) $(BIN)/pytest tests/system/test_api_fuzz.py

system-units: setup ## as root: Debian 13's systemd runs the real units in namespaces
	@$(MAKE) --no-print-directory debian TEST_PACKAGES="mmdebstrap device-tree-compiler"
	$(SUDO) $(BIN)/pytest tests/units -m units --transcript docs/engineering-log/sandbox.md --durations=3

lint: setup ## formatting, ruff, mypy, import contracts, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	git ls-files -z -- '*.md' '*.py' | xargs -0 $(BIN)/codespell

format: setup ## format and mend what ruff can
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

reference: setup ## write docs/reference/, the layers in architecture.md, man pages, completions
	$(BIN)/python -m firmware.documentation

bench: setup ## measure against peers; write benchmarks/results.json and the README's table
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks

soak: setup debian ## eight hours of sound in some ten minutes, with random faults
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.soak

rates: setup ## evaluate every wake word on real recordings; write manifests, cards and docs
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.rates

day: setup ## evaluate a file of 24 hours; takes some minutes
	$(BIN)/python -m benchmarks.day

.PHONY: docs pictures
docs: setup ## the documentation site, in build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

pictures: setup debian ## draw the pictures of the README and the documentation anew
	$(BIN)/python -m benchmarks.pictures

lock: setup ## resolve anew which wheels a speaker runs, each by its hash
	$(BIN)/pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/python -m firmware.lock

deb: setup ## the Debian packages for arm64 and amd64, each with its SBOM, in dist/
	@set -e; debs=$$($(BIN)/python -m firmware.deb $(ARCH)); \
	    printf '%s\n' "$$debs"; $(BIN)/python -m firmware.sbom $$debs

deb-check: ## the package into fresh Debian 12 and 13 systems, and out again (root, minutes)
	sh firmware/deb/check.sh

release: deb ## a signed release file of each package, in dist/; KEY=FILE signs (docs/guides/updates.md)
	@test -f '$(KEY)' \
	  || { echo 'earmark: error: KEY=FILE names the key that signs; earmark update key FILE makes one' >&2; exit 2; }
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

# What `make arm64` uses from Debian besides: an emulator with plugins, and packages of another machine.
ARM64_PACKAGES := mmdebstrap qemu-user gcc libc6-dev

arm64: setup ## the speaker's wheels and our models on an emulated Cortex-A53
	$(MAKE) debian TEST_PACKAGES='$(ARM64_PACKAGES)'
	$(BIN)/python -m firmware.arm64

# What machines and images use from Debian: emulators, and what makes file systems without mounting.
VM_PACKAGES := mmdebstrap qemu-system-x86 busybox-static cpio zstd kmod e2fsprogs device-tree-compiler
IMAGE_PACKAGES := mmdebstrap qemu-user-static binfmt-support arch-test qemu-system-arm mtools \
    device-tree-compiler zstd

vm: setup ## the units in an emulated machine: sound, switch, broker, archive (root, 5 min)
	$(MAKE) debian TEST_PACKAGES='$(VM_PACKAGES)'
	$(BIN)/python -m tests.vm scenes

power-cut: setup ## fifty power cuts while everything writes (root, 20 min)
	$(MAKE) debian TEST_PACKAGES='$(VM_PACKAGES)'
	$(BIN)/python -m tests.vm power-cut

image: setup ## the card's image for Pi 3, 4 and Zero 2 W, in dist/, and booted (root, an hour)
	$(MAKE) debian TEST_PACKAGES='$(IMAGE_PACKAGES)'
	$(BIN)/python -m firmware.image --again card
	$(BIN)/python -m tests.vm image

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* *.egg-info
