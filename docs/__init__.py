"""Documents of the project, and what writes their tables."""
