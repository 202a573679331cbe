"""Faults by plan: what goes wrong on a simulated bench, with which message or at which time."""

from simulators.faults.plan import Fault, FaultPlan, load_faults
from simulators.faults.tamper import FaultLog, Firing

__all__ = ["Fault", "FaultLog", "FaultPlan", "Firing", "load_faults"]
