"""`sweeps schema`: the JSON Schema of the sweep YAML, for editors."""

from __future__ import annotations

import json

from sweeps.spec.schema import spec_schema


def schema() -> int:
    """Print the JSON Schema of the sweep YAML."""
    print(json.dumps(spec_schema(), indent=1, allow_nan=False))
    return 0
