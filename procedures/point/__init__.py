"""One fluence, measured."""
