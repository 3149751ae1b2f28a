# make demo   train on 4 agents, run on 1000: table, GIFs and plots (seven minutes or so)
# make test   the tests (make test-all: with the long ones, too)
# make docs   the guide, in site/index.html
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
FILES := pyproject.toml setup.py constraints.txt

.PHONY: demo test test-all test-learning test-reliability check docs bench bench-updates bench-training bench-seeds bench-peers bench-removed bench-learning bench-fresh bench-comparison bench-scaling bench-paper bench-foreign bench-tennis clean

demo: .venv/with-marl
	$(BIN)/marl demo

# Compiled modules are kept, or every process would compile all of them anew.
test test-all: export PYTHONDONTWRITEBYTECODE =

test: .venv/with-tests
	$(BIN)/pytest -n auto

test-all: .venv/with-tests
	$(BIN)/pytest -n auto -m 'not learning'

test-learning: .venv/with-tests
	$(BIN)/pytest -m learning

test-reliability: .venv/with-tests
	$(BIN)/python benchmarks/reliability.py

check: .venv/with-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy marl benchmarks experiments docs

# Without network, once installed. The variable silences a notice about the tool's successor.
docs: .venv/with-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/with-tests
	$(BIN)/python benchmarks/simulator.py

bench-updates: .venv/with-tests
	$(BIN)/python benchmarks/updates.py

bench-training: .venv/with-tests
	$(BIN)/python benchmarks/training.py

bench-seeds: .venv/with-tests
	$(BIN)/python benchmarks/seeds.py

bench-fresh: .venv/with-marl
	$(BIN)/python benchmarks/fresh.py spread --references random greedy local-assignment assignment

bench-comparison: .venv/with-marl
	$(BIN)/python benchmarks/comparison.py

bench-scaling: .venv/with-marl
	$(BIN)/python benchmarks/scaling.py

bench-paper: .venv/with-tests
	$(BIN)/python benchmarks/paper.py --page

bench-foreign: .venv/with-tests
	$(INSTALL) 'pettingzoo[sisl]'
	$(BIN)/python benchmarks/foreign.py

bench-tennis: .venv/with-tests
	$(BIN)/python benchmarks/tennis.py speed
	$(BIN)/python benchmarks/tennis.py noise
	$(BIN)/python benchmarks/tennis.py learning --plot docs/tennis.png
	$(BIN)/python benchmarks/tennis.py cures

# The libraries we compare with, in an environment of their own; marl too, in whose worlds they learn.
bench-peers: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt \
		--editable '.[pettingzoo]'

# Games that PettingZoo removed, of which version 1.11.2 says that it needs Python 3.9.
bench-removed:
	$(PYTHON) -m venv .venv-waterworld
	.venv-waterworld/bin/pip install --quiet --disable-pip-version-check \
		'pettingzoo==1.25.0' 'pymunk<7' pygame-ce scipy
	$(PYTHON) -m venv .venv-prison
	.venv-prison/bin/pip install --quiet --disable-pip-version-check \
		'gym==0.26.2' 'numpy<2' pygame-ce pillow
	.venv-prison/bin/pip install --quiet --disable-pip-version-check \
		--no-deps --ignore-requires-python 'pettingzoo==1.11.2'

# Half a day on two idle cores, in pieces; most of it is BenchMARL. --peer-seeds 2 halves it.
bench-learning: .venv/with-tests
	$(BIN)/python benchmarks/learning.py

.venv/with-marl: $(FILES)
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable .
	touch $@

.venv/with-tests: .venv/with-marl
	$(INSTALL) --editable '.[dev]'
	touch $@

.venv/with-docs: .venv/with-marl
	$(INSTALL) --editable '.[docs]'
	touch $@

clean:
	rm -rf .venv .venv-peers build dist site *.egg-info
