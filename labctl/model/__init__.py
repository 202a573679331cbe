"""The vocabulary every room shares: roles, records, errors, clocks. Imports numpy and nothing else."""
