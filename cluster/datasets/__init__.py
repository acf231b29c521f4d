"""Datasets on disk: records, Parquet shards and their manifest."""
