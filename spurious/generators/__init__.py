"""Synthetic datasets with a known truth."""
