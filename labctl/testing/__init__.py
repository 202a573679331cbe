"""For the tests of a driver package: what its role promises (:mod:`labctl.testing.conformance`)."""

from labctl.testing.conformance import Check, Fails, checks_of

__all__ = ["Check", "Fails", "checks_of"]
