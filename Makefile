# Everything a learner, an instructor or a maintainer runs. Needs Python 3.11+ with venv, and a package index
# or a wheelhouse.
PYTHON ?= $(if $(filter Windows_NT,$(OS)),python,python3)
NB ?= notebooks solutions
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
READY := .venv/.ready
ROOT := $(if $(filter 0,$(shell id -u 2>&1)),--allow-root)
# Where a program is missing, tests are skipped, and the lines that only they run are not held against anybody.
MEASURED := $(if $(filter 1,$(LABSERVER_REQUIRE_ALL)),--cov-fail-under=100)
PIP := $(BIN)/python -m pip install --disable-pip-version-check
# In a room without internet: `make wheelhouse` has filled the folder at home.
OFFLINE := $(if $(wildcard wheelhouse/*.whl),--no-index --find-links=wheelhouse)
INCOMPLETE := expected wheelhouse/ to have all that this machine needs, found that it has not: fill it again where there \
  is internet, or take it away to install from there
PYTEST = $(BIN)/python -m pytest --numprocesses=4 --dist=loadfile --no-loadscope-reorder

# Text is UTF-8, on Windows as everywhere else, also where it goes into a file or a pipe.
export PYTHONUTF8 = 1

# What checks remember must not mix with what the person at this machine has done.
test notebooks refresh: export LABSERVER_STATE = $(CURDIR)/.venv/state

.PHONY: lab test demo doctor setup notebooks exercises refresh lint bench lock wheelhouse

lab: $(READY)
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(ROOT) $(ARGS)

test: $(READY)
	$(BIN)/labserver exercises --check
	$(BIN)/labserver validate --queued $(wildcard $(NB:=/*.ipynb))
	$(PYTEST) -m "not whole" --cov $(MEASURED) $(ARGS)
	$(PYTEST) -m whole $(ARGS)

demo: $(READY)
	@$(BIN)/labserver demo

doctor: $(READY)
	@$(BIN)/labserver doctor

setup: $(READY)

notebooks: $(READY)
	$(BIN)/labserver validate $(NB)

exercises: $(READY)
	$(BIN)/labserver exercises --write

refresh: $(READY)
	$(BIN)/labserver refresh $(NB)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(READY)
	$(BIN)/python tests/bench.py $(ARGS)

# From the index, also where there is one already: it may lack something by now.
wheelhouse: OFFLINE :=
wheelhouse: $(READY)
	$(BIN)/labserver wheelhouse

lock:
	uv pip compile --universal --python-version 3.11 --extra develop pyproject.toml --output-file requirements.lock \
	  --upgrade --no-header --no-annotate --no-emit-index-url --no-emit-find-links

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c "import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit('expected Python 3.11 to \
	3.13, found %d.%d; name another, for example: make setup PYTHON=python3.12' % v)"
	@echo "Making .venv and installing what requirements.lock pins$(if $(OFFLINE), (from wheelhouse/)): once, a minute or two"
	$(PYTHON) -m venv .venv
	$(PIP) $(OFFLINE) --requirement requirements.lock $(if $(OFFLINE),|| { echo "$(INCOMPLETE)"; exit 1; })
	$(PIP) $(OFFLINE) --no-deps --editable .
	$(BIN)/python -c "open('$(READY)', 'w').close()"
