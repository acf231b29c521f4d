"""Synthetic datasets with a known truth, and writers of releases in the formats of real ones.

A generator `x-y` of `spurious.config.datasets.GENERATORS` is the class `Generator` of
`spurious.generators.x_y`.
"""
