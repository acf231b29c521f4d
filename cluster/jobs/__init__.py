"""Ray sessions here, and Ray jobs on clusters elsewhere."""
