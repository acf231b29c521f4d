"""Verifies what a store holds."""
