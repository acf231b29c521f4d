"""Runs the missing trials of a plan on Ray."""
