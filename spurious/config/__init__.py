"""Options of the science: defaults, ranges, and what a method takes."""
