# `make report` and `make test` do all their own set-up in .venv; nothing else need be installed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SLURM := .venv-slurm
LOCK := envs/requirements.lock

# For a study with config files of its own: make report CONFIG=own/config.yaml
CONFIG :=
OVERLAYS := $(if $(CONFIG),--configfile $(CONFIG) --)
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --cores 4 $(OVERLAYS)

.PHONY: report ablations simulate bench test test-docs test-slurm lint check verify corpus lock dag clean

report: $(VENV)/.installed
	$(SNAKEMAKE) report

# The other arms: scalings, layers, full fine-tuning, and what is switched on in config.yaml.
ablations: $(VENV)/.installed
	$(SNAKEMAKE) ablations

# How often the intervals hold the truth, and the elbow's rule finds it, on simulated studies.
simulate: $(VENV)/.installed
	$(SNAKEMAKE) simulate

# Writes benchmarks/RESULTS.md; three quarters of an hour, on a machine with nothing else to do.
bench: report $(VENV)/.installed-test
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=. $(BIN)/python benchmarks/bench.py

test: $(VENV)/.installed-test lint
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest

# Types every command of the documents, on a tiny study, in a fresh clone and the environment that they
# make there; ten minutes.
test-docs: $(VENV)/.installed-test
	$(BIN)/python tests/pipeline/walk_the_docs.py

# A tiny study on a Slurm that is started on this host for it; needs root, and installs Debian's packages.
# The plugin would slow every other command, so it has an environment of its own.
test-slurm: $(SLURM)/.installed
	$(SLURM)/bin/python tests/pipeline/on_slurm.py

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

# Fails, naming it, if a gate of the headline run fails.
check: $(VENV)/.installed
	$(SNAKEMAKE) gates

# Recomputes every hash in every manifest and says what is not current.
verify: $(VENV)/.installed
	$(BIN)/python -m minituner verify $(if $(CONFIG),--config $(CONFIG))

# Writes data/processed anew from data/raw; refuses to overwrite edits (see its --force).
corpus: $(VENV)/.installed
	$(BIN)/python -m minituner.data.generate

# The picture of the graph in the README (needs graphviz's dot).
dag: $(VENV)/.installed
	$(BIN)/snakemake --forceall --rulegraph > docs/.dag.dot
	dot -Tsvg docs/.dag.dot -o docs/.dag.svg && mv docs/.dag.svg docs/dag.svg
	rm docs/.dag.dot

# Pins everything that the direct dependencies in pyproject.toml pull in.
lock: $(VENV)/.installed-test
	$(BIN)/pip freeze --exclude-editable > $(LOCK).new
	sed 's/+cpu//' $(LOCK).new > $(LOCK) && rm $(LOCK).new

clean:
	rm -rf $(VENV) $(SLURM) .snakemake logs .pytest_cache .mypy_cache .ruff_cache *.egg-info

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
