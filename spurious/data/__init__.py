"""From a dataset to batches: splits, supervision, augmentation, sampling."""
