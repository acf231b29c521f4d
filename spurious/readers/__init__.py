"""Readers of datasets as they were released."""
