"""Models that trials kept: found, exported as one file, and scored on other datasets."""
