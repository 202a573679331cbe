"""Documents about stored runs that leave the laboratory: the report of a run, and its parts."""
