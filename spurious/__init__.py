"""The science: datasets, supervision, methods, metrics. Knows neither Ray nor S3."""
