"""Many stored runs: listed, copied for others, fitted again as a whole."""
