"""Where a sweep runs: store, shards, node cache, embedded server, Ray session."""
