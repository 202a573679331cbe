"""What is done with the bench: pump control and sweeps, over roles and never over drivers."""
