# Everything that people and CI run. `make` alone lists it.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The other queues' libraries stay out of the way.
BENCH_VENV ?= .venv-bench
BENCH_READY := $(BENCH_VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test check serve bench bench-quick bench-beat bench-admin soak chaos death fuzz beats conformance wagtail zones pictures messages clean

help: ## List what can be made
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: $(READY) ## Run the site's main job on real input, to its end
	@$(BIN)/python manage.py demo

test: $(READY) ## Run the tests, on a real PostgreSQL
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal $(ARGS)

check: $(READY) ## Formatting, lint, floors, types, Django's checks, migrations
	@$(BIN)/ruff format --check --quiet . || { echo "Run: $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-cache >$(VENV)/imports.log || { cat $(VENV)/imports.log; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/python -m tests.typing
	@$(BIN)/python manage.py check --fail-level WARNING
	@$(BIN)/python manage.py makemigrations --check --dry-run
	@$(BIN)/python -m bench.budget
	@git ls-files -z 2>/dev/null | xargs -0 -r stat -c '%s %n' 2>/dev/null | \
		awk '$$1 > 1000000 { print $$2 " has " $$1 " bytes: no tracked file is larger than 1 MB"; wrong = 1 } \
		END { exit wrong }'

serve: $(READY) ## Keep site, worker and beat running, to look at
	@$(BIN)/python manage.py serve

bench: $(BENCH_READY) ## Measure beside other queues, half an hour; ARGS="--only jobs,celery"
	@$(BENCH_VENV)/bin/python -m bench $(ARGS)

bench-quick: $(BENCH_READY) ## The same with fewer jobs, in some minutes
	@$(BENCH_VENV)/bin/python -m bench --quick $(ARGS)

soak: $(READY) ## Full pace for an hour; MINUTES=10 for less
	@$(BIN)/python -m bench.soak --minutes $(or $(MINUTES),60)

bench-beat: $(READY) ## A beat over ten thousand schedules: idle, and a burst of five thousand
	@$(BIN)/python -m bench.beat

bench-admin: $(READY) ## The admin's pages with a million jobs: queries, and time of SQL
	@$(BIN)/python -m bench.admin

chaos: $(READY) ## Break everything at random for ten minutes, and audit; MINUTES=1 SEED=7
	@$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

death: $(READY) ## Locks, stalls, clocks, half-open connections: who is declared dead? ROUNDS=3 SEED=7
	@$(BIN)/python -m tests.death --timeout $(or $(TIMEOUT),6) --rounds $(or $(ROUNDS),1) \
		$(if $(ONLY),--only $(ONLY)) $(if $(SEED),--seed $(SEED))

fuzz: $(READY) ## Refuse random rows with random errors while jobs run; MINUTES=1 SEED=7
	@$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED))

beats: $(READY) ## Three beats, two minutes, some killed and stopped: is each tick fired once?
	@$(BIN)/python -m tests.beats --minutes $(or $(MINUTES),2) $(if $(SEED),--seed $(SEED))

conformance: $(READY) ## Django's own tests of django.tasks, on each Django, against this backend
	@$(BIN)/python -m tests.conformance

wagtail: $(READY) ## Wagtail's search index, updated through jobs
	@$(BIN)/python -m tests.wagtail

zones: $(READY) ## Cron lines in every time zone around every clock change, beside an oracle
	@$(BIN)/python -m tests.oracle

pictures: $(READY) ## The docs' screenshots, taken anew (needs chromium and its driver)
	@PICTURES=.pictures $(BIN)/python -m pytest -q tests/test_browser.py -k small_screen
	@for kept in overview:light-1400 failed:light-1400 kinds:light-1400 kind:light-1400 again:light-1400 job:light-1400 \
		running:light-1400; do \
		cp .pictures/$${kept%:*}-$${kept#*:}.png docs/images/$${kept%:*}.png; done
	@cp .pictures/overview-dark-1400.png docs/images/overview-dark.png
	@cp .pictures/job-dark-430.png docs/images/job-narrow.png
	@PICTURES=$(CURDIR)/.pictures $(BIN)/python -m pytest -q tests/test_unfold.py
	@cp .pictures/overview-unfold-light.png docs/images/unfold.png
	@ls -l docs/images

messages: $(READY) ## The translations: gather what is new, compile (needs gettext)
	@cd jobs && ../$(BIN)/django-admin makemessages -v 0 -l de -l es -l fr -l zh_Hans \
		--no-location --no-wrap --no-obsolete
	@sed -i '/^"POT-Creation-Date/d; /^"Report-Msgid-Bugs-To/d' jobs/locale/*/LC_MESSAGES/django.po
	@cd jobs && ../$(BIN)/django-admin compilemessages -v 0
	@for file in jobs/locale/*/LC_MESSAGES/django.po; do \
		printf '%s: ' $$file; msgfmt --statistics -o /dev/null $$file; done

clean: ## Stop the private PostgreSQL, and delete what was made here
	@if [ -x $(BIN)/python ] && [ -d .postgres ]; then \
		$(BIN)/python -m project.private_postgres .postgres stop; fi
	@rm -rf .postgres .media .mail .static .mypy_cache .pytest_cache .ruff_cache .hypothesis \
		.import_linter_cache .bench .chaos .conformance .wagtail .pictures build *.egg-info $(VENV) $(BENCH_VENV)
	@echo "The private PostgreSQL is stopped; its data, $(VENV), uploads and caches are deleted."
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made again only when what is required has changed.
$(READY): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version 2>&1)." \
		"Name another: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "This Python has no venv module. On Debian and Ubuntu: apt install python3-venv"; \
		exit 1; }
	@echo "Setting up $(VENV) (once; takes about a minute)"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt \
		2>$(VENV)/pip.log || { cat $(VENV)/pip.log; \
		echo "Installing failed: is a package index within reach? (pip config list)"; exit 1; }
	@touch $@

$(BENCH_READY): requirements.txt bench/requirements.txt
	@echo "Setting up $(BENCH_VENV) (once)"
	@[ -x $(BENCH_VENV)/bin/python ] || $(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		-r bench/requirements.txt 2>$(BENCH_VENV)/pip.log || { cat $(BENCH_VENV)/pip.log; exit 1; }
	@touch $@
