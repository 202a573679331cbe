"""``bench.toml``: read, checked and turned into the plain records of the model."""

from labctl.config.bench import ROLES, BenchConfig, RoleName, load_bench, parse_bench
from labctl.config.example import EXAMPLE

__all__ = ["EXAMPLE", "ROLES", "BenchConfig", "RoleName", "load_bench", "parse_bench"]
