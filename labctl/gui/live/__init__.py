"""What is measured now: the running sweep, the alignment, the bench by hand."""
