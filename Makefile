# Everything needs only Python >= 3.11 and make.  `make demo` trains and evaluates the quick start, `make test` checks
# the project, `make soak` repeats the slow checks at full length.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PLUGINS := plugins/sslkit-selfcls plugins/sslkit-lightly plugins/sslkit-backbones
EDITABLE := $(addprefix -e ,$(PLUGINS))
# One environment, made again when any project's metadata change: first what users get, then what the checks need.
INSTALLED := $(VENV)/installed
STAMP := $(VENV)/developed
METADATA := pyproject.toml $(addsuffix /pyproject.toml,$(PLUGINS))

.PHONY: demo test soak lint types imports docs unit clean

demo: $(INSTALLED)
	$(BIN)/sslkit train recipes/quickstart.toml
	$(BIN)/sslkit eval --cluster

test: lint types imports docs unit

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy sslkit examples
	$(BIN)/mypy $(wildcard plugins/*/sslkit_*)

imports: $(STAMP)
	$(BIN)/lint-imports

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

unit: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not soak'

soak: $(STAMP)
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder -m soak

$(INSTALLED): $(METADATA)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e . $(EDITABLE)
	touch $(INSTALLED)

$(STAMP): $(INSTALLED)
	$(BIN)/pip install --quiet -e '.[dev]' $(EDITABLE)
	touch $(STAMP)

clean:
	rm -rf $(VENV) site .mypy_cache .ruff_cache .import_linter_cache .hypothesis
