# `make report` and `make test` do all their own set-up in .venv; nothing else has to be installed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SLURM := .venv-slurm
LOCK := envs/requirements.lock

# For a study with its own config file: make report CONFIG=own/config.yaml
CONFIG :=
OVERLAYS := $(if $(CONFIG),--configfile $(CONFIG) --)
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --cores 4 $(OVERLAYS)

.PHONY: report ablations simulate bench test coverage test-docs test-slurm lint check verify corpus lock \
	dag clean

report: $(VENV)/.installed
	$(SNAKEMAKE) report

# The ablation arms: scaling, layers, full fine-tuning, and whatever is enabled in config.yaml.
ablations: $(VENV)/.installed
	$(SNAKEMAKE) ablations

# How often the intervals cover the truth, and the elbow rule finds it, in simulated studies.
simulate: $(VENV)/.installed
	$(SNAKEMAKE) simulate

# Writes benchmarks/RESULTS.md. Takes about an hour, on a machine that does nothing else.
bench: report $(VENV)/.installed-test
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=. $(BIN)/python benchmarks/bench.py

test: $(VENV)/.installed-test lint
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest

# Statements of minituner that the tests run, first by the fast half, then by both halves together.
# Subprocesses count, such as the jobs of the tiny studies (pyproject.toml, tool.coverage).
coverage: $(VENV)/.installed-test
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest --ignore tests/pipeline --cov
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest tests/pipeline --cov --cov-append

# Runs every command in the documents, on a tiny study, in a fresh clone and the environment that the
# commands create there. Takes ten minutes.
test-docs: $(VENV)/.installed-test
	$(BIN)/python tests/pipeline/walk_the_docs.py

# Runs a tiny study on a Slurm that it starts on this host. Needs root, and installs Debian packages.
# The plugin would slow down every other command, so it has its own environment.
test-slurm: $(SLURM)/.installed
	$(SLURM)/bin/python tests/pipeline/on_slurm.py

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

# Fails if a gate of the headline run fails, and names the gate.
check: $(VENV)/.installed
	$(SNAKEMAKE) gates

# Recomputes every hash in every manifest and reports what is not current.
verify: $(VENV)/.installed
	$(BIN)/python -m minituner verify $(if $(CONFIG),--config $(CONFIG))

# Generates data/processed from data/raw again; refuses to overwrite edits (see its --force).
corpus: $(VENV)/.installed
	$(BIN)/python -m minituner generate

# The figure of the graph in the README (needs dot from Graphviz).
dag: $(VENV)/.installed
	$(BIN)/snakemake --forceall --rulegraph > docs/.dag.dot
	dot -Tsvg docs/.dag.dot -o docs/.dag.svg && mv docs/.dag.svg docs/dag.svg
	rm docs/.dag.dot

# Pins everything that the direct dependencies in pyproject.toml pull in.
lock: $(VENV)/.installed-test
	$(BIN)/pip freeze --exclude-editable > $(LOCK).new
	sed 's/+cpu//' $(LOCK).new > $(LOCK) && rm $(LOCK).new

clean:
	rm -rf $(VENV) $(SLURM) .snakemake logs .pytest_cache .mypy_cache .ruff_cache *.egg-info \
		.coverage .coverage.*

$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "minituner needs Python 3.11 or newer: make PYTHON=python3.11 report")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: pyproject.toml $(LOCK) | $(VENV)/.python
	$(BIN)/pip install --quiet --constraint $(LOCK) --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml $(LOCK) | $(VENV)/.python
	$(BIN)/pip install --quiet --constraint $(LOCK) --editable '.[test,interop]'
	touch $@ $(VENV)/.installed

$(SLURM)/.installed: pyproject.toml $(LOCK)
	$(PYTHON) -m venv $(SLURM)
	$(SLURM)/bin/pip install --quiet --constraint $(LOCK) --editable '.[slurm]'
	touch $@
