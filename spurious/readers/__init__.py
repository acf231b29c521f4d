"""Readers of datasets as they were released, one module or folder each, found by name.

A reader `x-y` of `spurious.config.datasets.READERS` is the class `Reader` of
`spurious.readers.x_y`.
"""
