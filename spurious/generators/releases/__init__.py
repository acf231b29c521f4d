"""Writers of small folders in the formats of released datasets, with phantom pixels."""
