"""ISIC 2018 task 1 with the trap splits of Bissoto et al."""
