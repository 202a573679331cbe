"""A threshold from shots that were taken while the plate turned: pure functions on arrays."""
