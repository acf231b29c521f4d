"""The sweep YAML: reading, checking, storing."""
