# citytally: `make` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help install run up down test test-long check format lock drill bench bench-compare soak test-load clean

bin := .venv/bin
quick_tests := $(wildcard tests/unit tests/contract tests/integration tests/end_to_end)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: ## install what is missing (Debian 12; root, or a user with sudo)
	@deploy/local/install.sh

run: install ## start everything with a simulated city; FOR=60 stops by itself after 60 seconds
	$(bin)/citytally up --watch --simulate 300 $(if $(FOR),--for $(FOR))

up: install ## start the servers and services, and return
	$(bin)/citytally up

down: ## stop what `make run` or `citytally up` left running
	$(bin)/citytally down

test: install check ## check, then all tests but the long ones, on real servers; a quick drill too
	$(bin)/pytest $(quick_tests) -m "not long"

test-long: install ## the longer faults and the whole drill
	$(bin)/pytest $(quick_tests) -m "long and not load" --timeout 1800

check: install ## format, lint, types and the direction of imports
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/mypy
	$(bin)/lint-imports

format: install ## format the code and mend what the linter can
	$(bin)/ruff format .
	$(bin)/ruff check --fix .

lock: ## resolve the dependencies again into requirements.lock
	$(bin)/uv pip compile --generate-hashes --no-emit-index-url --no-header --extra develop --extra bench pyproject.toml -o requirements.lock

drill: install ## the whole drill: every fault on a scratch city
	$(bin)/citytally drill

bench: install ## measure every scenario from publish to commit; a table, a plot and latest.json
	$(bin)/citytally bench

bench-compare: install ## BASE=<rev>: run that revision and the code here in turn, print the ratio
	@test -n "$(BASE)" || { echo "say which: make bench-compare BASE=<rev>" >&2; exit 2; }
	$(bin)/citytally bench --compare "$(BASE)"

soak: install ## 15 minutes (FOR=seconds) at 70 % of the rate, with faults by chance (SEED=word)
	$(if $(FOR),SOAK_SECONDS=$(FOR)) $(if $(SEED),SOAK_SEED=$(SEED)) $(bin)/pytest -s tests/load

test-load: install ## the benchmarks as tests
	$(bin)/pytest $(quick_tests) -m load --timeout 1800

clean: ## delete caches and the state of the local stack, its data included (not .venv)
	@test ! -e .citytally || $(bin)/citytally down
	rm -rf .citytally dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find schemas services tests -name __pycache__ -type d -prune -exec rm -rf {} +
