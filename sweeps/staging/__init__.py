"""Puts datasets into the store."""
