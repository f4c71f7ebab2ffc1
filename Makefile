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
# `make bench-scale`: how many images, and whose photos; a million of drawn scenes unless told otherwise.
IMAGES ?=
PHOTOS ?=
# `make lock` needs uv: https://docs.astral.sh/uv/
UV     ?= uv
TORCH  := torch triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc \
  nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse \
  nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx
# `make crash`: for how long, on what (sqlite, postgres-redis, postgres-rabbitmq, all), with which random numbers;
# SERVICES=1 takes the servers away too, FAULTS=1 lets disks fail and clocks jump.
MINUTES  ?= 10
SETUP    ?= sqlite
SEED     ?=
MUTATIONS ?= 10000
SERVICES ?=
FAULTS   ?=
STAMP  := $(VENV)/.setup-stamp
# The many interpreters that tests start find compiled what an earlier one has, also where the caller would not keep it.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder
ifeq ($(PY),$(VENV)/bin/python)
NEEDS  := $(STAMP)
endif

# The Pythons that `make pythons` tries, each by its command or its path.
PYTHONS  ?= python3.11 python3.12 python3.13
QUICK    := tests/reranker tests/retriever tests/imaging/test_imaging_decode.py tests/store/test_store_filters.py \
  tests/sightline/test_sightline_library.py tests/sightline/test_sightline_search.py tests/blip/test_blip_load.py
# `make docs SERVE=1` shows the site while one writes.
SERVE    ?=

.PHONY: help setup demo test test-long crash soak fuzz bench bench-scale bench-quality bench-gpu demo-model lint lock clean docs dist check-wheel pythons

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(NEEDS) ## make the virtual environment .venv

# --no-compile: most of what is installed is never imported; Python compiles the rest at first use.
$(STAMP): pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --no-compile -c constraints.txt -e '.[$(FAISS),dev]'
	touch $@

demo: $(NEEDS) ## index the shipped pictures and serve the page (ONCE=1: print the table only)
	rm -rf $(DEMO_DATA)
	$(PY) -m sightline demo --data $(DEMO_DATA) --port $(PORT) $(if $(ONCE),--once)

test: $(NEEDS) ## what every change runs
	$(PYTEST) -m "not long"

test-long: $(NEEDS) ## the tests that take minutes
	$(PYTEST) -m long

crash: $(NEEDS) ## kill everything at random moments (MINUTES, SETUP, SEED, SERVICES=1, FAULTS=1)
	OMP_NUM_THREADS=1 $(PY) -m tests.crash --minutes $(MINUTES) --setup $(SETUP) $(if $(SEED),--seed $(SEED)) \
	  $(if $(SERVICES),--services) $(if $(FAULTS),--faults)

# MINUTES of use; SETUP as for `make crash`.
soak: $(NEEDS) ## use an installation for MINUTES
	OMP_NUM_THREADS=1 $(PY) -m tests.soak --minutes $(MINUTES) --setup $(SETUP)

# Mutated pictures through the decoder; SEED as above.
fuzz: $(NEEDS) ## mutated pictures through the decoder (MUTATIONS, SEED)
	OMP_NUM_THREADS=1 $(PY) -m tests.imaging.fuzz --mutations $(MUTATIONS) $(if $(SEED),--seed $(SEED))

# At most 30 minutes on 2 cores; docs/benchmarks.md.
bench: $(NEEDS) ## the benchmarks, at most 30 minutes
	$(PY) -m benchmarks.run

# A million images: about an hour on 2 cores and 35 GB of disk, kept in build/scale; goes on when it was interrupted.
bench-scale: $(NEEDS) ## a million images (IMAGES, PHOTOS)
	$(PY) -m benchmarks.scale_million $(if $(PHOTOS),--photos $(PHOTOS)) $(if $(IMAGES),--images $(IMAGES))

# On a machine with a GPU, at most 8 minutes; writes build/gpu.json and prints a table.
bench-gpu: $(NEEDS) ## on a machine with a GPU
	$(PY) -m benchmarks.gpu

bench-quality: $(NEEDS) ## how good the answers are
	$(PY) -m benchmarks.quality

demo-model: $(NEEDS) ## train the shipped models anew
	$(PY) -m demo.training sightline/data/demo-model --work build/demo-model
	$(PY) -m torch.distributed.run --standalone --nproc-per-node 2 -m demo.training.make_asking \
	  sightline/data/demo-model sightline/data/demo-asking --work build/demo-model

lint: $(NEEDS) ## style, types, layers, known holes
	$(PY) -m ruff check .
	$(PY) -m ruff format --check --quiet .
	$(PY) -m mypy
	$(dir $(PY))lint-imports
	$(PY) .ci/audit constraints.txt requirements.lock -- $(PY) -m pip_audit

# What an installation consists of, with the hash of every file: constraints.txt says which versions. PyTorch is left
# out, with what its CUDA builds bring: which build fits is the machine's matter.
lock: ## write requirements.lock (needs uv)
	$(UV) pip compile pyproject.toml --universal --python-version 3.11 --extra faiss-cpu --extra postgres --extra redis \
	  --extra train --extra milvus -c constraints.txt --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --output-file requirements.lock \
	  $(foreach name,$(TORCH),--no-emit-package $(name))

docs: $(NEEDS) ## the docs site in build/site; SERVE=1 shows it while one writes
	$(PY) -m pip install --quiet --no-compile -c constraints.txt -e '.[$(FAISS),docs]'
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs $(if $(SERVE),serve,build)

# What a release consists of, in dist/, looked through; CONTRIBUTING.md has the rest of the recipe.
dist: $(NEEDS) ## wheel and sdist in dist/, looked through
	rm -rf dist
	$(PY) -m pip install --quiet --no-compile -c constraints.txt -e '.[$(FAISS),release]'
	$(PY) -m build --no-isolation --outdir dist .
	$(PY) -m twine check --strict dist/*
	$(PY) -m check_wheel_contents dist/*.whl

# The wheel in an environment that has nothing else, from a folder that is not this one.
check-wheel: $(NEEDS) ## install the wheel where nothing else is, and run the demo there
	rm -rf build/wheel
	mkdir -p build/wheel/elsewhere
	$(PY) -P -c "from hatchling.build import build_wheel as build; build('build/wheel')"
	$(PYTHON) -m venv build/wheel/env
	build/wheel/env/bin/python -m pip install --quiet --no-compile -c constraints.txt \
	  "sightline[$(FAISS)] @ file://$$(echo $(CURDIR)/build/wheel/*.whl)"
	cd build/wheel/elsewhere && ../env/bin/sightline demo --once --data data
	rm -rf build/wheel

pythons: ## the quick tests on each of PYTHONS
	for python in $(PYTHONS); do \
	  env=build/pythons/$$(basename $$python) && $$python -m venv $$env \
	  && $$env/bin/python -m pip install --quiet --no-compile -c constraints.txt -e '.[$(FAISS),dev]' \
	  && OMP_NUM_THREADS=1 $$env/bin/python -m pytest -q -n $(JOBS) --dist loadscope -m "not long" $(QUICK) || exit 1; \
	done

clean: ## remove what was built
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
