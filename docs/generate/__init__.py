"""Writes the tables of the documents from the registries: `python -m docs.generate`."""
