# Needs Python >= 3.11 and make. `make demo` trains and evaluates the quick start, `make test` runs all checks,
# `make soak` the long tests, `make format` formats the code, `make coverage` the tests with
# their coverage, `make lowest` tests the lowest declared versions (needs uv), `make page` builds the page of
# `sslkit explore` (needs Node).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PLUGINS := plugins/sslkit-selfcls plugins/sslkit-discovery plugins/sslkit-lightly plugins/sslkit-backbones \
    plugins/sslkit-segmentation plugins/sslkit-pretext
EDITABLE := $(addprefix -e ,$(PLUGINS))
# One environment, made again when any pyproject.toml changes: first what users get, then what the checks need.
INSTALLED := $(VENV)/installed
STAMP := $(VENV)/developed
METADATA := pyproject.toml $(addsuffix /pyproject.toml,$(PLUGINS))

.PHONY: demo test soak format lint types imports docs unit coverage lowest page clean

demo: $(INSTALLED)
	$(BIN)/sslkit train recipes/quickstart.toml
	$(BIN)/sslkit eval --cluster

test: lint types imports docs unit

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

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

coverage: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not soak' \
	    --cov=sslkit $(foreach plugin,$(PLUGINS),--cov=$(subst -,_,$(notdir $(plugin)))) --cov-report=term:skip-covered

soak: $(STAMP)
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder -m soak

lowest:
	uv venv --quiet --clear --python $(PYTHON) .venv-lowest
	uv pip install --quiet --python .venv-lowest --resolution lowest-direct -e '.[dev]' $(EDITABLE)
	.venv-lowest/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not soak'

page:
	cd explore-ui && npm ci && npm run build

$(INSTALLED): $(METADATA)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e . $(EDITABLE)
	touch $(INSTALLED)

$(STAMP): $(INSTALLED)
	$(BIN)/pip install --quiet -e '.[dev]' $(EDITABLE)
	touch $(STAMP)

clean:
	rm -rf $(VENV) .venv-lowest site .mypy_cache .ruff_cache .import_linter_cache .hypothesis
