# Everything a contributor types. `make setup` runs by itself, once, before the others.
PYTHON ?= python3
VENV   ?= .venv
# The interpreter that runs everything; point it at an environment of your own to skip the set-up.
PY     ?= $(VENV)/bin/python
FAISS  ?= faiss-cpu
# `make demo ONCE=1` exits after printing the table instead of serving the page.
ONCE   ?=
PORT   ?= 8000
# How many processes run the tests, each with one thread of its own; 0 runs them in this one.
JOBS   ?= 2
DEMO_DATA ?= build/demo
# `make crash`: for how long, on what (sqlite, postgres-redis, postgres-rabbitmq, all), with which random numbers;
# SERVICES=1 takes the servers away too, FAULTS=1 lets disks fail and clocks jump.
MINUTES  ?= 10
SETUP    ?= sqlite
SEED     ?=
MUTATIONS ?= 10000
SERVICES ?=
FAULTS   ?=
STAMP  := $(VENV)/.setup-stamp
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder
ifeq ($(PY),$(VENV)/bin/python)
NEEDS  := $(STAMP)
endif

.PHONY: setup demo test test-long crash fuzz bench bench-quality demo-model lint clean

setup: $(NEEDS)

# --no-compile: most of what is installed is never imported; Python compiles the rest at first use.
$(STAMP): pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --no-compile -c constraints.txt -e '.[$(FAISS),dev]'
	touch $@

demo: $(NEEDS)
	rm -rf $(DEMO_DATA)
	$(PY) -m sightline demo --data $(DEMO_DATA) --port $(PORT) $(if $(ONCE),--once)

test: $(NEEDS)
	$(PYTEST) -m "not long"

test-long: $(NEEDS)
	$(PYTEST) -m long

crash: $(NEEDS)
	OMP_NUM_THREADS=1 $(PY) -m tests.crash --minutes $(MINUTES) --setup $(SETUP) $(if $(SEED),--seed $(SEED)) \
	  $(if $(SERVICES),--services) $(if $(FAULTS),--faults)

# Mutated pictures through the decoder; SEED as above.
fuzz: $(NEEDS)
	OMP_NUM_THREADS=1 $(PY) -m tests.imaging.fuzz --mutations $(MUTATIONS) $(if $(SEED),--seed $(SEED))

bench: $(NEEDS)
	$(PY) -m benchmarks.run

bench-quality: $(NEEDS)
	$(PY) -m benchmarks.quality

demo-model: $(NEEDS)
	$(PY) -m demo.training sightline/data/demo-model --work build/demo-model

lint: $(NEEDS)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check --quiet .
	$(PY) -m mypy
	$(dir $(PY))lint-imports

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
