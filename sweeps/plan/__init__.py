"""What a sweep will run: cells, trials, ids and prices."""
