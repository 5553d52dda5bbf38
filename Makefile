# The guide's targets, each one line that calls the tool; `make … LAB=1` rehearses it in the lab.
FILE ?= tallship.yaml
PYTHON ?= python3
VENV ?= .venv
SHELL := /bin/bash

tallship := $(VENV)/bin/tallship
options := --file $(FILE) $(if $(LAB),--lab) \
	$(if $(TALOS_VERSION),--set talos.version=$(TALOS_VERSION)) \
	$(if $(KUBERNETES_VERSION),--set kubernetes.version=$(KUBERNETES_VERSION))
ready := $(VENV)/.ready
# Programs for a release alone, in an environment of their own.
release := .venv-release
# One more than cores: some tests wait for a lab that is a process of its own.
pytest := $(VENV)/bin/pytest --dist worksteal -n $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)')

STEPS := image image-workers kind-create capi-init secret apply kubeconfig pull-cilium wait-cp workers talosconfig \
	cilium hcloud-ccm talos-ccm roll-out wait-nodes wait-workers firewall firewall-apply health-checks

.PHONY: help demo test test-long torture faults waits e2e check fmt golden bench proto lock setup audit build bootstrap pivot clean status plan $(STEPS)

help: ## show the targets
	@awk -F':.*## ' '/^[a-z0-9$$()-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "and each step of the guide: $(STEPS)"

setup: $(ready) ## make the environment

$(ready): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

bootstrap: $(ready) ## the whole cluster, from nothing to Ready nodes
	$(tallship) up $(options)

pivot: $(ready) ## move Cluster API into the cluster itself
	$(tallship) pivot --file $(FILE) $(if $(LAB),--lab)

clean: $(ready) ## delete the bootstrap cluster after the pivot
	$(tallship) clean --file $(FILE) $(if $(LAB),--lab)

plan: $(ready) ## what `bootstrap` would do, and what it would cost
	$(tallship) plan $(options)

status: $(ready) ## what the cluster is now
	$(tallship) status --file $(FILE) $(if $(LAB),--lab)

$(STEPS): $(ready)
	$(tallship) up --only $@ $(options)

demo: $(ready) ## the guide's cluster, rehearsed in a fresh lab
	$(tallship) lab up --fresh --file examples/k8s/tallship.yaml
	$(tallship) up --lab --file examples/k8s/tallship.yaml

test: $(ready) ## the tests
	$(pytest) -m "not long"

test-long: $(ready) ## more faults and kills of the kinds that `test` tries, before a release
	$(pytest) -m long

torture: $(ready) ## every command killed, again and again; ROUNDS=10 SEED=1, WRITE=1 for docs/reliability.md
	SEED=$(or $(SEED),1) ROUNDS=$(or $(ROUNDS),10); export SEED ROUNDS; $(call counted,test_torture.py)

faults: $(ready) ## every call of every command with every fault; ONLY=up,destroy, WRITE=1 for docs/fault-matrix.md
	export FULL="$(or $(ONLY),all)"; $(call counted,test_fault_matrix.py)

waits: $(ready) ## every kind of step waits for its whole time; WRITE=1 for docs/reliability.md
	$(call counted,test_long_waits.py)

# Tests in two processes, and with WRITE=1 what they counted in a page.
define counted
COUNTED=$$(mktemp -d) && export COUNTED && trap 'rm -r "$$COUNTED"' EXIT && \
	$(VENV)/bin/pytest -n 2 --dist worksteal tests/functional/$(1) $(if $(WRITE),&& $(VENV)/bin/python tests/functional/counted.py "$$COUNTED")
endef

e2e: $(ready) ## the tests with real programs and Talos' own library, which are built with Go at the first time
	$(VENV)/bin/python tests/e2e/build_programs.py
	$(VENV)/bin/pytest -n 2 --dist loadfile --timeout 600 tests/e2e tests/contract/talos_config/test_talos_library.py

bench: $(ready) ## what it costs in time and calls; WRITE=1 puts the figures into docs/performance.md
	$(VENV)/bin/python -m bench $(if $(WRITE),--write)

golden: $(ready) ## rewrite the expected documents
	GOLDEN=rewrite $(VENV)/bin/pytest -q tests/unit/test_manifests_golden.py

$(release)/.ready: release/requirements.lock
	$(PYTHON) -m venv $(release)
	$(release)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

audit: $(release)/.ready ## known defects of the locked packages
	release/audit $(release)

build: $(ready) $(release)/.ready ## a wheel, what to install it with, and its SBOM, in dist/
	$(VENV)/bin/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	$(VENV)/bin/python release/runtime_lock.py > dist/requirements.txt
	$(release)/bin/python -W ignore -m cyclonedx_py requirements dist/requirements.txt --pyproject pyproject.toml \
		--output-reproducible --output-file dist/tallship.cdx.json

check: $(ready) ## style, types, and which way imports point
	$(VENV)/bin/ruff format --check --quiet .
	$(VENV)/bin/ruff check --quiet .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

proto: $(ready) ## generate the code of the Talos messages
	PATH="$(abspath $(VENV))/bin:$$PATH" $(VENV)/bin/python -m grpc_tools.protoc -I src \
		--python_out=src --pyi_out=src --grpclib_python_out=src src/tallship/talosproto/*.proto

fmt: $(ready) ## format the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

lock: $(ready) ## pin the newest dependencies that pyproject.toml allows
	$(VENV)/bin/pip install --quiet uv
	$(VENV)/bin/uv pip compile pyproject.toml --group dev --generate-hashes --universal --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --upgrade -o requirements.lock
