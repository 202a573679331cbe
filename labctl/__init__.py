"""labctl: fluence sweeps on a femtosecond bench, with live spectra and an honest lasing threshold."""

__version__ = "0.1.0"
