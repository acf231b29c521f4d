PYTHON ?= python3
RUN = .venv/bin
# an environment of another Python is replaced; one of this Python is brought up to date
OTHER = $$([ "$$($(RUN)/python -V 2>&1)" = "$$($(PYTHON) -V)" ] || echo --clear)
JOBS ?= 3
.PHONY: setup demo check test docs e2e manifests bench bench-coverage bench-damage bench-data bench-engine bench-kills bench-search lock slow
setup: .venv/ready
.venv/ready: requirements/dev.txt requirements/runtime.txt requirements/tables.txt pyproject.toml
	$(PYTHON) -m venv $(OTHER) .venv && $(RUN)/pip install --quiet --require-virtualenv uv && $(RUN)/uv pip sync --quiet --compile-bytecode --python $(RUN)/python --require-hashes requirements/dev.txt requirements/tables.txt
	$(RUN)/uv pip install --quiet --python $(RUN)/python --no-deps --no-build-isolation -e . && touch $@
demo: setup
	$(RUN)/sweeps run sweeps/specs/quickstart.yaml
	$(RUN)/sweeps report sweeps/specs/quickstart.yaml
check: setup
	$(RUN)/ruff check . && $(RUN)/ruff format --check . && $(RUN)/mypy && $(RUN)/lint-imports && $(RUN)/python tests/private_words.py && $(RUN)/hadolint docker/Dockerfile
	$(RUN)/pytest -q -p no:cacheprovider tests/test_project.py -k short
test: setup check
	$(RUN)/pytest -n $(JOBS) --dist worksteal
slow: setup
	$(RUN)/pytest -n $(JOBS) --dist worksteal -m slow
docs: setup
	$(RUN)/python -m docs.generate
e2e: setup
	$(RUN)/pytest -m e2e -s tests/e2e
manifests: setup
	for o in cpu-tryout gpu-pool kueue; do $(RUN)/kubectl kustomize k8s/overlays/$$o | $(RUN)/python -m k8s.lint --committed $(if $(CRDS),--crds $(CRDS)) - || exit 1; done
bench: setup
	for part in training_speed trial_speed freed_memory inner_tls checkpoint_saving; do $(RUN)/python tests/benchmarks/$$part.py || exit 1; done
	PYTHONPATH=tests/spurious $(RUN)/python tests/benchmarks/steering_speed.py
bench-search: setup
	$(RUN)/python tests/benchmarks/search_stopping.py
bench-coverage: setup
	OMP_NUM_THREADS=1 $(RUN)/python tests/benchmarks/interval_coverage.py
	OMP_NUM_THREADS=1 $(RUN)/python tests/benchmarks/attainment_coverage.py
	OMP_NUM_THREADS=1 $(RUN)/python tests/benchmarks/model_coverage.py
bench-damage: setup
	$(RUN)/python tests/benchmarks/damaged_pictures.py
bench-data: setup
	$(RUN)/python tests/benchmarks/data && $(RUN)/python tests/benchmarks/data/fill.py
bench-engine: setup
	$(RUN)/python tests/benchmarks/engine
	$(RUN)/python tests/benchmarks/results
bench-kills: setup
	PYTHONPATH=tests/sweeps:tests/cluster $(RUN)/python tests/benchmarks/kills
# the development file adds to the runtime one: pins that both have are dropped from it
ADDED = FNR == NR { pinned[$$1]; next } /^[a-z]/ { added = !($$1 in pinned) } added
LOCK = uv pip compile -q --generate-hashes --no-emit-index-url --no-header --python-version 3.11
lock:
	$(LOCK) pyproject.toml -o requirements/runtime.txt && $(LOCK) --no-deps --group tables -o requirements/tables.txt
	$(LOCK) pyproject.toml --extra dev -c requirements/runtime.txt -o requirements/dev.txt && { echo '-r runtime.txt' && awk '$(ADDED)' requirements/runtime.txt requirements/dev.txt; } > requirements/dev.new && mv requirements/dev.new requirements/dev.txt
	sed -n '/^uv==/,/^[a-z].*==/{/^uv==/p;/^    --hash/p}' requirements/dev.txt > docker/uv.txt
