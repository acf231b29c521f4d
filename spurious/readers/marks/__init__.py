"""Masks and boxes as annotators deliver them; no file here knows a dataset."""
