"""Searches inside cells: suggestions, rungs of early stopping, and what is left to run."""
