"""`sweeps schema`: print the JSON Schema of the sweep YAML, for editors."""

from __future__ import annotations

from sweeps.commands.output import print_json
from sweeps.spec.schema import spec_schema


def schema() -> int:
    """Print the JSON Schema of the sweep YAML."""
    print_json(spec_schema())
    return 0
