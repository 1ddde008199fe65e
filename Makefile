# make demo | up | test | lint | proto: each sets up .venv first, once.
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
STAMP := $(VENV)/.set-up
PORT ?= 7600
WORKERS ?= 1
SECONDS ?= 8

# An etcd that set-up fetched lies in .venv/bin; a user's own etcd comes first.
export PATH := $(PATH):$(CURDIR)/$(BIN)

.PHONY: help demo up test lint proto bench bench-replicated kill-matrix

help:
	@echo "make demo              a cluster of three workers, digits, recall, a killed worker: about a minute"
	@echo "make up                a cluster in ./shoal-data until Ctrl-C (PORT=$(PORT) WORKERS=$(WORKERS))"
	@echo "make test              lint, then every test"
	@echo "make bench             loads Fashion-MNIST and measures beside raw FAISS (DATA=folder, SECONDS=8): about five minutes"
	@echo "make bench-replicated  write throughput with three replicas beside that with one; about a minute"
	@echo "make kill-matrix       each role killed, frozen and stopped under load: what was lost, how long it took; about a minute"
	@echo "make lint              ruff, mypy, import contracts"
	@echo "make proto             generate the stubs again after a change in proto/"

$(STAMP): pyproject.toml constraints.txt deploy/setup.sh
	@PYTHON="$(PYTHON)" sh deploy/setup.sh
	@touch $(STAMP)

demo: $(STAMP)
	@$(PY) -P -m deploy.demo

up: $(STAMP)
	@exec $(BIN)/shoal up --data shoal-data --port $(PORT) --workers $(WORKERS)

test: lint
	$(BIN)/pytest

kill-matrix: $(STAMP)
	$(PY) -m tests.chaos.kill_matrix --json bench-results/kill-matrix.json

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	@$(PY) -m bench --seconds $(SECONDS) $(if $(DATA),--data $(DATA))

bench-replicated: $(STAMP)
	@$(PY) -m bench.replicated --seconds $(SECONDS)

proto: $(STAMP)
	$(PY) -m grpc_tools.protoc -I proto --python_out=. --pyi_out=. --grpc_python_out=. $$(cd proto && find . -name '*.proto' | sed 's,^\./,,' | sort)
