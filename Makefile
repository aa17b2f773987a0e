# Every target does all its set-up by itself and is quick when repeated.
PYTHON ?= python3
BIN = .venv/bin
DEMO = outputs/demo

.PHONY: demo train-demo test lint clean

.venv/.stamp: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable ".[demo,test]"
	touch $@

demo: .venv/.stamp
	$(BIN)/python demo.py sheet --output $(DEMO)

train-demo: .venv/.stamp
	$(BIN)/python demo.py train --output $(DEMO)

# A process for each file: OpenVINO, ONNX Runtime, PyTorch's compiler and FFmpeg, all at work in one
# process for minutes, have ended in a segmentation fault twice.
test: .venv/.stamp
	for file in tests/test_*.py; do $(BIN)/python -m pytest $$file || exit 1; done

lint: .venv/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf .venv .pytest_cache .ruff_cache *.egg-info
