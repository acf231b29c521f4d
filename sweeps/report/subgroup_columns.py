"""The columns of a report's table of subgroups."""

from __future__ import annotations

from sweeps.results.schemas import parse_columns

REPORT_SUBGROUPS = parse_columns("""
    schema_version | int64 | | version of this schema
    specificity | string | | label, box, box=image, mask or r=N
    budget | string | | annotated training images asked for, or all
    method | string | | training method
    covariate | string | | what the test images are divided by
    subgroup | string | | its value, or the band of its numbers; not known where nobody recorded it
    place | int64 | | order of the subgroup, from 0
    lowest | float64 | | lowest number of the band among test images; null of text
    highest | float64 | | highest number, likewise
    positives | int64 | images | abnormal test images of the subgroup
    negatives | int64 | images | normal ones
    auroc_n | int64 | | seeds with a value; 0 where it is refused
    auroc_mean | float64 | | mean over seeds; null where it is refused
    auroc_low | float64 | | lower 95 % limit for new seeds and new patients of the subgroup alone
    auroc_high | float64 | | upper 95 % limit, likewise; not adjusted for the number of subgroups
    auroc_interval | string | | two-sided, at least or at most (exact bounds), or none
    auroc_reason | string | | why the interval or the value is undefined; null where both are known
    robust_positives | int64 | images | those of them that the spurious attributes contradict
    robust_negatives | int64 | images | likewise
    robust_auroc_n | int64 | | as auroc_n, of the robust AUROC
    robust_auroc_mean | float64 | | likewise
    robust_auroc_low | float64 | | likewise
    robust_auroc_high | float64 | | likewise
    robust_auroc_interval | string | | likewise
    robust_auroc_reason | string | | likewise
""")
