# make demo | up | test | lint | proto: each sets up .venv first, once.
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
STAMP := $(VENV)/.set-up
PORT ?= 7600
WORKERS ?= 1
SECONDS ?= 8
SEEDS ?= 500
FIRST ?= 0
MINUTES ?= 10
ROWS ?= 100000
PARTS ?= shoal peers growth control shards
TESTERS ?= 3

# An etcd that set-up fetched lies in .venv/bin; a user's own etcd comes first.
export PATH := $(PATH):$(CURDIR)/$(BIN)

# Python keeps what it compiled. Otherwise each of the hundreds of processes that tests start compiles everything again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo demo-kb demo-images up test test-long kill-points recall-targets lint proto bench bench-peers bench-replicated bench-control bench-balance \
	bench-text kill-matrix chaos compiled simulate simulate-mutations

help:
	@echo "make demo              a cluster of three workers, digits, recall, a killed worker: about a minute"
	@echo "make demo-kb           knowledge bases, English and Chinese: chunks, search by vectors and text, judged answers: minutes;"
	@echo "                       KB=folder: of your own .md and .txt files"
	@echo "make demo-images       pictures searched by likeness on a page, http://127.0.0.1:7680/, until Ctrl-C; ONCE=1: some searches, then"
	@echo "                       it ends; IMAGES=folder: your own .png and .jpg files"
	@echo "make up                a cluster in ./shoal-data until Ctrl-C (PORT=$(PORT) WORKERS=$(WORKERS))"
	@echo "make test              lint, then every test, in TESTERS=$(TESTERS) processes: one computes, the others wait for clusters"
	@echo "make test-long         every cell of every matrix, and more random examples"
	@echo "make kill-points       a replica killed at each step of what it writes, the first time and in the middle of its life"
	@echo "make recall-targets    recall against target on every data set and index"
	@echo "make bench             measures Shoal, raw FAISS, other installed systems and growth in one run: about 25 minutes;"
	@echo "                       PARTS=shoal: about five (DATA=folder, SECONDS=8, PARTS='shoal peers growth control shards')"
	@echo "make bench-peers       installs the other systems that make bench can measure"
	@echo "make bench-replicated  write throughput with three replicas beside that with one; about a minute"
	@echo "make bench-control     the control plane with 10,000 shards on 200 workers; half a minute"
	@echo "make bench-balance     plans of moves for up to 10,000 shards on 200 workers; two minutes"
	@echo "make bench-text        text searches in a worker, ROWS=$(ROWS) documents; half a minute"
	@echo "make kill-matrix       each role killed, frozen and stopped under load: what was lost, how long it took; about a minute"
	@echo "make chaos             random faults for MINUTES=$(MINUTES) on four workers, partly hosted by Ray, and what became of every point"
	@echo "make simulate          replication in a seeded world, both cores (SEEDS=$(SEEDS) FIRST=$(FIRST)): about a minute for 500"
	@echo "make simulate-mutations  breaks each rule of replication and prints what noticed: about a minute"
	@echo "make lint              ruff, mypy, import contracts"
	@echo "make proto             generate the stubs again after a change in proto/"

$(STAMP): pyproject.toml constraints.txt deploy/setup.sh
	@PYTHON="$(PYTHON)" sh deploy/setup.sh
	@touch $(STAMP)

demo: $(STAMP)
	@$(PY) -P -m shoal.deploy.local.demo

demo-kb: $(STAMP)
	@$(PY) -m examples.knowledge_base $(if $(KB),"$(KB)")

demo-images: $(STAMP)
	@$(PY) -m examples.images $(if $(IMAGES),"$(IMAGES)") $(if $(ONCE),--once)

up: $(STAMP)
	@exec $(BIN)/shoal up --data shoal-data --port $(PORT) --workers $(WORKERS)

test: $(STAMP)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync lint compiled
	@$(BIN)/pytest --numprocesses=$(TESTERS) --dist=loadfile --durations=25

# Imports every test once, beside lint. On a new checkout, each process of the tests would else compile all of them. An
# import that fails is told by the run after it.
compiled: $(STAMP)
	@$(BIN)/pytest --collect-only -qq -p no:xdist > /dev/null || true

test-long: lint
	SHOAL_TESTS=long $(BIN)/pytest

kill-points: $(STAMP)
	SHOAL_TESTS=long $(BIN)/pytest tests/integration/test_kill_points.py

recall-targets: $(STAMP)
	SHOAL_TESTS=long $(BIN)/pytest tests/integration/test_recall_targets.py

kill-matrix: $(STAMP)
	$(PY) -m tests.chaos.kill_matrix --json bench-results/kill-matrix.json

chaos: $(STAMP)
	$(PY) -m tests.chaos.run --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) --json bench-results/chaos.json

simulate: $(STAMP)
	@$(PY) -m tests.simulation.run --seeds $(SEEDS) --first $(FIRST)

simulate-mutations: $(STAMP)
	@$(PY) -m tests.simulation.mutate

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	@$(PY) -m bench --seconds $(SECONDS) --parts $(PARTS) $(if $(DATA),--data $(DATA))

bench-peers: $(STAMP)
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[bench]'

bench-replicated: $(STAMP)
	@$(PY) -m bench.replicated --seconds $(SECONDS)

bench-control: $(STAMP)
	@$(PY) -m bench.control

bench-balance: $(STAMP)
	@$(PY) -m bench.balance

bench-text: $(STAMP)
	@$(PY) -m bench.text --rows $(ROWS)

proto: $(STAMP)
	$(PY) -m grpc_tools.protoc -I proto --python_out=. --pyi_out=. --grpc_python_out=. $$(cd proto && find . -name '*.proto' | sed 's,^\./,,' | sort)
