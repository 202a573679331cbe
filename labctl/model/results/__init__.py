"""What is found: plain records of a run, of several, of single shots and of a flight."""
