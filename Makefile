# Every target does all its set-up by itself and is quick when repeated.
PYTHON ?= python3
BIN = .venv/bin
DEMO = outputs/demo
JOBS ?= 2
FUZZ ?= 2000
SEED ?= 19

.PHONY: demo train-demo web web-build test fuzz lint clean

.venv/.stamp: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable ".[demo,test]"
	touch $@

demo: .venv/.stamp
	$(BIN)/python demo.py sheet --output $(DEMO)

train-demo: .venv/.stamp
	$(BIN)/python demo.py train --output $(DEMO)

web: web-build
	$(BIN)/python web/serve.py

web-build: web/dist/index.html

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	cd web && npm ci --no-audit --no-fund --loglevel=error
	touch $@

web/public/pairs.json: .venv/.stamp web/bundle.py $(wildcard checkpoints/* engines/*.py models/*.py)
	$(BIN)/python web/bundle.py

web/dist/index.html: web/node_modules/.package-lock.json web/public/pairs.json web/index.html \
		web/vite.config.js $(wildcard web/src/*)
	cd web && npm run --silent types && npm run --silent build

# A process for each file, two at a time (with a thread each, or they are in each other's way): OpenVINO, ONNX Runtime, PyTorch's compiler and FFmpeg, all
# at work in one process for minutes, have ended in a segmentation fault twice.
# The page is built for its tests where there is something to build and to show it with.
test: .venv/.stamp $(if $(and $(shell command -v npm),$(shell command -v chromium)),web-build)
	ls -S tests/test_*.py | OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE xargs -P $(JOBS) -I FILE sh -c \
		'text=$$($(BIN)/python -m pytest FILE 2>&1); code=$$?; printf "%s\n" FILE "$$text"; exit $$code'

# Mutated files of every kind; another seed tries others.
fuzz: .venv/.stamp
	DUOSTYLE_FUZZ=$(FUZZ) DUOSTYLE_FUZZ_SEED=$(SEED) $(BIN)/python -m pytest tests/test_fuzz.py

lint: .venv/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf .venv .pytest_cache .ruff_cache *.egg-info web/node_modules web/dist web/public/models \
		web/public/paintings web/public/pairs.json
