# Shortcuts to dev.py, which needs neither make nor anything installed beforehand.
PYTHON ?= python3

.PHONY: setup diagnostics gate check test faults lint build docs bench schemas

setup diagnostics gate check test faults build docs bench schemas:
	@$(PYTHON) dev.py $@

lint:
	@$(PYTHON) dev.py lint
	@$(PYTHON) dev.py types
	@$(PYTHON) dev.py imports
