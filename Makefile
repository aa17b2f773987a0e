# Every target does all its set-up by itself and is quick when repeated.
PYTHON ?= python3
BIN = .venv/bin
DEMO = outputs/demo
JOBS ?= 2
FUZZ ?= 2000
SEED ?= 19

.PHONY: demo train-demo web web-build test test-quick fuzz lint types clean

# Files of tests that take a second or two each.
QUICK = architecture checkpoint head images paths losses masks network opening optim photos \
	temporal_filter tiling warps

.venv/.stamp: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable ".[demo,test]"
	touch $@

demo: .venv/.stamp
	$(BIN)/duostyle demo sheet --output $(DEMO)

train-demo: .venv/.stamp
	$(BIN)/duostyle demo train --output $(DEMO)

web: web-build
	$(BIN)/python web/serve.py

web-build: web/dist/index.html

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	cd web && npm ci --no-audit --no-fund --loglevel=error
	touch $@

web/public/pairs.json: .venv/.stamp web/bundle.py $(wildcard checkpoints/* duostyle/export/*.py models/*.py)
	$(BIN)/python web/bundle.py

web/dist/index.html: web/node_modules/.package-lock.json web/public/pairs.json web/index.html \
		web/vite.config.js $(wildcard web/src/*)
	cd web && npm run --silent types && npm run --silent build

# A process for each file, JOBS at a time with one thread each: one process with OpenVINO, ONNX Runtime,
# PyTorch's compiler and FFmpeg ended in a segmentation fault twice.
# The page is built for its tests where npm and Chromium are installed.
test: .venv/.stamp $(if $(and $(shell command -v npm),$(shell command -v chromium)),web-build)
	ls -S tests/test_*.py | OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE xargs -P $(JOBS) -I FILE sh -c \
		'text=$$($(BIN)/python -m pytest FILE 2>&1); code=$$?; printf "%s\n" FILE "$$text"; exit $$code'

test-quick: .venv/.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(QUICK:%=tests/test_%.py)

# Mutated files of every kind; another seed tries others.
fuzz: .venv/.stamp
	DUOSTYLE_FUZZ=$(FUZZ) DUOSTYLE_FUZZ_SEED=$(SEED) $(BIN)/python -m pytest tests/test_fuzz.py

lint: .venv/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy does not follow the `__path__` of duostyle/__init__.py: it reads the layout of the wheel.
types: .venv/.stamp
	rm -rf build/types && mkdir -p build/types
	cp -r duostyle build/types/ && cp -r models losses data build/types/duostyle/
	cd build/types && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --package duostyle

clean:
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache *.egg-info web/node_modules web/dist web/public/models \
		web/public/paintings web/public/pairs.json
