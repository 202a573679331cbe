"""Files opened within bounds, locked while a process writes them, and HDF5's own pitfalls."""
