"""Files and tables of NIH ChestX-ray14, which several readers share."""
