"""Two sweeps side by side: before and after, two datasets, two models."""
