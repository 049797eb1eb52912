# The whole life of the tree; `make help` lists the targets.

PYTHON := .venv/bin/python
COVERAGE_DIR := $(CURDIR)/.coverage_data
SOURCES := appliance nbd_plugin tests ansible
TESTED := tests/unit tests/simulated tests/contract tests/rules tests/model tests/integration tests/chaos

.DEFAULT_GOAL := help
.PHONY: help setup format lint unit check test test-lab test-vm verify bench chaos soak failures
.PHONY: demo demo-down lab clean

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | sort -u | expand -t 14

setup:  ## Install what is missing: Debian packages, .venv
	@tests/setup.sh

format: setup  ## Format the code
	.venv/bin/ruff format $(SOURCES)
	.venv/bin/ruff check --fix --select I $(SOURCES)

lint: setup
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

unit: setup
	$(PYTHON) -m pytest -q -n auto -p no:schemathesis tests/unit

verify: setup  ## Look at deployed hosts: make verify INVENTORY=ansible/inventories/...
	@test -n "$(INVENTORY)" || { echo "make verify INVENTORY=FILE" >&2; exit 2; }
	$(PYTHON) -m pytest -q -p no:cacheprovider tests/infra/verify --inventory=$(INVENTORY)

lab: setup  ## Four virtual machines by Vagrant and libvirt, deployed and looked at
	PATH="$(CURDIR)/.venv/bin:$$PATH" vagrant up
	$(MAKE) --no-print-directory verify INVENTORY=.vagrant/provisioners/ansible/inventory

check: setup  ## Format, lint, types, import contracts, unit tests: under a minute
	@$(MAKE) --no-print-directory -j2 --output-sync=target lint unit

clean:  ## Remove what the tools left, but not .venv
	rm -rf .coverage_data .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf build dist basalt.egg-info
	find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} +

# Block devices, mounts and packages are root's, so these targets call sudo where needed.
ifneq ($(shell id -u),0)

test test-lab test-vm bench chaos soak failures demo demo-down:
	@command -v sudo >/dev/null || { \
	    echo "make $@ mounts file systems and makes block devices, which needs root," \
	        "and there is no sudo: run it as root" >&2; exit 1; }
	@echo "make $@ needs root: calling sudo"
	@sudo $(MAKE) --no-print-directory $@ $(MAKEOVERRIDES); result=$$?; \
	    sudo chown -R "$$(id -u):$$(id -g)" .; exit $$result

else

MEASURED := COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml COVERAGE_ROOT=$(CURDIR) \
    COVERAGE_FILE=$(COVERAGE_DIR)/data PYTHONPATH=$(CURDIR)/tests/coverage_hook

# First what may share the cores, then what wants them for itself.
test: lint  ## Everything, with branch coverage of all processes (root)
	rm -rf $(COVERAGE_DIR) && mkdir $(COVERAGE_DIR)
	$(MEASURED) $(PYTHON) -m pytest -n auto --dist worksteal --durations=15 -m "not alone" $(TESTED)
	$(MEASURED) $(PYTHON) -m pytest --durations=15 -m alone $(TESTED)
	COVERAGE_ROOT=$(CURDIR) $(PYTHON) tests/coverage_gate.py $(COVERAGE_DIR)/data

test-lab: setup  ## Ansible on four containers with systemd, in a network of their own (root)
	$(PYTHON) -m pytest tests/infra --ignore=tests/infra/verify --exitfirst -rP

test-vm: setup  ## Volumes as /dev/nbdX, in a virtual machine with Debian's kernel (root)
	$(PYTHON) -m pytest tests/vm -rP

bench: setup  ## Measure beside stock parts, on RAM (root)
	$(PYTHON) -m tests.bench

chaos: setup  ## Random faults for SECONDS=, or those of one SEED=; a line for each round (root)
	$(PYTHON) -m tests.chaos --seconds $(or $(SECONDS),300) --seed "$(SEED)"

soak: setup  ## Work and bounces for MINUTES=; nothing may grow (root)
	$(PYTHON) -m tests.chaos.soak --minutes $(or $(MINUTES),60)

failures: setup  ## How long I/O stands still when something fails (root)
	$(PYTHON) -m tests.chaos.measure

demo: setup  ## A mirrored volume that loses a server and keeps its bytes (root)
	$(PYTHON) -m appliance.cli.demo up

demo-down: setup  ## Remove every trace of the demo (root)
	$(PYTHON) -m appliance.cli.demo down

endif
