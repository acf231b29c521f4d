"""The linter of the manifests beside it: a development tool, which is not in the image."""
