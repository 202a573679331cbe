"""Faults by plan: what goes wrong on a simulated bench, with which message or at which time."""

from simulators.faults.log import FaultLog, Firing
from simulators.faults.plan import Fault, FaultPlan, load_faults

__all__ = ["Fault", "FaultLog", "FaultPlan", "Firing", "load_faults"]
