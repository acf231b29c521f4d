"""What a sweep is: specification, plan, trials, results, report, command line."""
