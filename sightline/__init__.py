"""The roof: settings, wiring and the command line. Imports everything, is imported by nothing."""

__version__ = "0.1.0"
