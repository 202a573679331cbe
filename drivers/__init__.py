"""Instrument drivers, one file per instrument, and the registry that finds them."""
