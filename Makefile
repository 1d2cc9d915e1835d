# Everything a developer or a newcomer runs. `make serve` is the whole quick start; `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
MODELS ?= demo
.DEFAULT_GOAL := help
.PHONY: help serve test test-slow test-container check models bento container constraints bench clean \
	bench-live demo-speech demo-paraformer demo-streaming demo-language-model demo-vad demo-punctuation \
	demo-realtime-punctuation demo-speaker demo-qwen3 demo-evaluate

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-26s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# GPU=1: with vLLM, which needs other versions than everything else here, so in an environment of its own
SERVE_VENV = $(if $(GPU),.venv-gpu,.venv)
serve: $(SERVE_VENV)/.runtime ## start the service (PORT=8000, HOST=0.0.0.0, ENABLED_MODELS=demo; GPU=1: with vLLM)
	@exec $(SERVE_VENV)/bin/python -m scripts.serve

test: .venv/.dev ## every test except the slow ones (ARGS='-k name' for some)
	@$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-slow: .venv/.dev ## the tests that take minutes or gigabytes
	@$(BIN)/python -m pytest -m slow $(ARGS)

check: .venv/.dev ## lint, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

test-container: .venv/.dev ## builds the CPU image without a registry and runs it (root; buildah, mmdebstrap)
	@$(BIN)/pip install -q uv
	@$(BIN)/python -m pytest -m slow -s tests/container $(ARGS)

models: .venv/.runtime ## fetch models for a machine without internet, and pack them (ARGS=--help)
	@$(BIN)/python -m scripts.prepare_models $(ARGS)

bento: .venv/.runtime ## a versioned Bento, with MODELS (demo) in BentoML's model store (GPU=1: with vLLM)
	@$(BIN)/python -m scripts.bento $(MODELS) $(if $(GPU),--gpu)

# TORCH_INDEX: address of PyTorch's index of CPU builds, for a CPU image of a tenth of the size
BACKEND ?= docker
IMAGE ?= asr-service:$(if $(TORCH_INDEX),cpu,gpu)
# From the root directory: BentoML reads a Bento's Dockerfile template below the working directory only, and puts
# the Bento into the system's temporary directory first.
container: ## the newest Bento as a container image (BACKEND=docker, TORCH_INDEX=, IMAGE=asr-service:gpu)
	@cd / && $(CURDIR)/$(BIN)/bentoml containerize asr-service:latest --backend $(BACKEND) --image-tag $(IMAGE) \
		$(if $(TORCH_INDEX),--opt build-arg=UV_EXTRA_INDEX_URL=$(TORCH_INDEX)) $(ARGS)

bench: .venv/.dev ## throughput and cost of the served API (ARGS for its options)
	@$(BIN)/python -m scripts.bench.offline $(ARGS)
bench-live: .venv/.dev ## latency and cost of live clients of the served API (ARGS for its options)
	@$(BIN)/python -m scripts.bench.streaming $(ARGS)

# Versions that still fit are kept; UPGRADE=--upgrade takes the newest. One lock for every supported Python.
COMPILE = $(BIN)/uv pip compile -q --no-annotate --no-header --no-emit-index-url $(UPGRADE)
LOCK = $(COMPILE) --universal --python-version 3.10
constraints: .venv/.dev ## lock the versions again after a change in pyproject.toml
	@$(BIN)/pip install -q uv
	@$(PYTHON) scripts/lock.py constraints.txt $(LOCK) --extra cpu --extra dev
	@$(PYTHON) scripts/lock.py requirements.txt $(LOCK) --extra cpu -c constraints.txt
	@$(PYTHON) scripts/lock.py requirements-gpu.txt $(COMPILE) --python-version 3.11 --python-platform linux --extra gpu

demo-speech: .venv/.dev ## demo pack, step 1: synthesise the corpus (needs espeak-ng)
	@$(BIN)/python -m scripts.demo.synthesize
demo-paraformer: .venv/.dev ## demo pack: train the recogniser
	@$(BIN)/python -m scripts.demo.train_paraformer
demo-streaming: .venv/.dev ## demo pack: train the live recogniser, from the recogniser
	@$(BIN)/python -m scripts.demo.train_paraformer_streaming
demo-language-model: .venv/.dev ## demo pack: count the n-gram language model
	@$(BIN)/python -m scripts.demo.train_language_model
demo-vad: .venv/.dev ## demo pack: train the voice activity detector
	@$(BIN)/python -m scripts.demo.train_vad
demo-punctuation: .venv/.dev ## demo pack: train the punctuation model
	@$(BIN)/python -m scripts.demo.train_punctuation
demo-realtime-punctuation: .venv/.dev ## demo pack: train the punctuation of partial text
	@$(BIN)/python -m scripts.demo.train_punctuation --realtime
demo-qwen3: .venv/.dev ## demo pack: train Qwen3-ASR (makes its own speech; then ARGS=--aligner)
	@$(BIN)/python -m scripts.demo.synthesize_qwen3
	@$(BIN)/python -m scripts.demo.train_qwen3 $(ARGS)
demo-speaker: .venv/.dev ## demo pack: train the speaker model (makes its own speech)
	@$(BIN)/python -m scripts.demo.train_speaker
demo-evaluate: .venv/.dev ## demo pack: the table of its accuracy
	@$(BIN)/python -m scripts.demo.evaluate

clean: ## remove what was made here: environment, builds, caches (not the model store)
	rm -rf .venv .venv-gpu build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is made again only when the lists of versions change.
.venv/.runtime: requirements.txt requirements-no-deps.txt scripts/setup_venv.py
	@$(PYTHON) scripts/setup_venv.py .venv requirements.txt requirements-no-deps.txt
	@touch $@
.venv-gpu/.runtime: requirements-gpu.txt scripts/setup_venv.py
	@$(PYTHON) scripts/setup_venv.py .venv-gpu requirements-gpu.txt
	@touch $@
.venv/.dev: .venv/.runtime constraints.txt
	@$(PYTHON) scripts/setup_venv.py .venv constraints.txt
	@touch $@
