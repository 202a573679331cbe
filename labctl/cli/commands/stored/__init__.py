"""What is done with runs that are stored: figures, reports, lists, copies for others."""
