# The verbs of this repository. `make help` lists them.
SHELL := bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FACES ?=
PACK ?=
ONLY ?=
DATA ?= ../shared/data
# Processes that tests run in, each with servers of its own.
JOBS ?= 2
# Where torch comes from, when not from pip's own index: https://download.pytorch.org/whl/cpu saves gigabytes of CUDA.
TORCH_INDEX ?=

.DEFAULT_GOAL := help
.PHONY: help install system demo demo-camera test unit lint up bench kith-small clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (the first time takes a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		$(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[worker,train,camera,api,mqtt,local,dev,bench]'
	@touch $@

install: $(STAMP) ## install Kith and everything it needs into .venv

system: ## install the servers the tests talk to (S3, RabbitMQ, MQTT, RTSP), where apt-get may
	@tests/servers/install

demo: $(STAMP) ## enrol people, recognise them, meet strangers: FACES=dir PACK=dir, or the shared faces
	@$(BIN)/kith demo $(if $(FACES),--faces "$(FACES)") $(if $(PACK),--pack "$(PACK)")

demo-camera: $(STAMP) ## people walk past cameras of a real RTSP server: visits, names, a stranger; FACES=, PACK= as for demo
	@$(BIN)/python -m producers.rehearsal $(if $(FACES),--faces "$(FACES)") $(if $(PACK),--pack "$(PACK)")

up: $(STAMP) ## start Valkey, the store and the workers on this machine
	@$(BIN)/kith up

lint: $(STAMP) ## style, types, who imports whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

test: $(STAMP) system ## install everything and run the whole test suite, in JOBS processes
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

unit: $(STAMP) ## the unit tests alone, which need no server
	@$(BIN)/python -m pytest tests/unit -n $(JOBS) --dist loadfile --no-loadscope-reorder

kith-small: $(STAMP) ## teach the shipped pack anew from DATA (hours): DATA/aligned, DATA/faces, DATA/weights
	cd $(DATA) && $(CURDIR)/$(BIN)/kith train $(CURDIR)/config/detector.toml --part detector --teacher weights \
		--out $(CURDIR)/build/kith-small/detector --resume
	cd $(DATA) && $(CURDIR)/$(BIN)/kith train $(CURDIR)/config/kith-small.toml --teacher weights \
		--detector $(CURDIR)/build/kith-small/detector/detector.onnx --out $(CURDIR)/build/kith-small --resume
	@$(BIN)/kith evaluate build/kith-small/pack --data $(DATA)/faces/val --out build/kith-small/evaluation

bench: $(STAMP) ## run the benchmarks, or one: make bench ONLY=pipeline
	@$(BIN)/python -m benchmarks $(ONLY)

clean: ## remove what make made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist *.egg-info benchmarks/out
