.PHONY: help bench test test-slow test-backends lint wheel clean
.DEFAULT_GOAL := help
# Two installs into one environment at the same time would break it.
.NOTPARALLEL:

python := .venv/bin/python
made_by := $(shell cat .venv/made-by 2>/dev/null)
interpreter := $(or $(PYTHON),$(made_by),python3)
# A process for each core, eight at most, since each holds a backend. A file's tests, or a class's, stay together, with
# the models that they share.
pytest := $(python) -m pytest --numprocesses=logical --maxprocesses=8 --dist=loadscope

help:
	@echo 'make bench          train and time a network; flags: make bench ARGS="--arch=lenet"'
	@echo 'make test           run the tests; flags: make test ARGS="-k residual"'
	@echo 'make test-slow      run the exhaustive and long tests alone'
	@echo 'make test-backends  run the tests of blocks and architectures on TensorFlow, JAX and PyTorch'
	@echo 'make lint           check style, formatting and types'
	@echo 'make wheel          build the wheel and the source archive into dist/'
	@echo 'make clean          remove .venv and everything else that was made here'
	@echo
	@echo 'Each of them first makes .venv and installs what it needs, once.'
	@echo 'PYTHON= chooses the interpreter, 3.11 or newer: make test PYTHON=python3.12'

bench: .venv/installed-bench
	$(python) -m benchmarks.train $(ARGS)

test: .venv/installed-test
	$(pytest) $(ARGS)

test-slow: .venv/installed-test
	$(pytest) -m slow $(ARGS)

# JAX compiles each operation for each shape: unoptimised, and once for all processes and later runs.
test-backends: export XLA_FLAGS = --xla_backend_optimization_level=0
test-backends: export JAX_COMPILATION_CACHE_DIR = $(CURDIR)/.pytest_cache/jax
test-backends: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0
test-backends: .venv/installed-test
	@for backend in tensorflow jax torch; do \
		$(python) -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$$backend') is None)" || \
		{ echo "$$backend is not installed; install it with: $(python) -m pip install $$backend" >&2; exit 1; }; \
	done
	@for backend in tensorflow jax torch; do \
		echo "On $$backend:"; \
		KERAS_BACKEND=$$backend $(pytest) tests/kblocks tests/architectures tests/test_promise.py $(ARGS) || exit 1; \
	done

lint: .venv/installed-dev
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy

wheel: .venv/installed-dev
	$(python) -m build

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# .venv/unfinished is there while anything is being installed. What pip had half installed when it was killed may look
# whole to its next run, so an unfinished environment is made anew, as is one of another interpreter than PYTHON.
ifneq ($(wildcard .venv/unfinished)$(if $(made_by),$(filter-out $(made_by),$(interpreter))),)
.PHONY: $(python)
endif

.venv/installed-%: $(python) setup.cfg pyproject.toml
	@touch .venv/unfinished
	$(python) -m pip install --disable-pip-version-check --editable '.[$*]'
	@touch $@ && rm .venv/unfinished

$(python):
	$(if $(problem),$(error $(problem)))
	@rm -rf .venv && mkdir .venv && touch .venv/unfinished
	"$(interpreter)" -m venv .venv || { rm -rf .venv; exit 1; }
	@echo '$(interpreter)' >.venv/made-by

# Why the interpreter will not do, in one sentence; empty when it will.
problem = $(shell \
	if ! "$(interpreter)" -c '' 2>/dev/null; then \
		echo 'no Python runs as "$(interpreter)": give PYTHON= the name of one, 3.11 or newer'; \
	elif ! "$(interpreter)" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		echo 'kblocks needs Python 3.11 or newer, and "$(interpreter)" is older: give PYTHON= the name of a newer one'; \
	elif ! "$(interpreter)" -c 'import ensurepip, venv' 2>/dev/null; then \
		echo '"$(interpreter)" cannot make an environment without its modules venv and ensurepip: install them (Debian: apt install python3-venv)'; \
	fi)
