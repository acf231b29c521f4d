"""GEORGE: clusters of a first model's features as groups."""
