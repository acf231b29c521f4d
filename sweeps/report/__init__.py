"""The report: tables, figure and page made from result tables alone."""
