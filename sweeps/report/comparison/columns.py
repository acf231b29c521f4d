"""Columns of the table of a comparison."""

from sweeps.results.schemas import parse_columns

REPORT_COMPARISON = parse_columns("""
    schema_version | int64 | | version of this schema
    specificity | string | | of the purchase
    budget | string | | likewise
    method | string | | likewise
    in_sweeps | string | | both, or which sweep alone has the purchase in its plan: first or second
    metric | string | | robust_auroc or auroc, on test
    first_seeds | int64 | | seeds of the first sweep with a defined value
    first_mean | float64 | probability | their mean
    first_low | float64 | probability | lower 95 % limit for new seeds and new patients
    first_high | float64 | probability | upper 95 % limit, likewise
    first_dollars | float64 | USD | cost of the purchase there, by its own axis
    first_unlearned | string | | why the purchase is not named there; null where it may be
    second_seeds | int64 | | of the second sweep, as the six before
    second_mean | float64 | probability | likewise
    second_low | float64 | probability | likewise
    second_high | float64 | probability | likewise
    second_dollars | float64 | USD | likewise
    second_unlearned | string | | likewise
    paired | bool | | whether the difference is paired by seed on the same test images
    difference | float64 | probability | second minus first; over common seeds where it is paired
    low | float64 | probability | its lower 95 % limit
    high | float64 | probability | its upper 95 % limit
    reason | string | | why it has no limits; null where it has
    verdict | string | | higher, lower, not decided, or the same trials; null of one alone
""")
