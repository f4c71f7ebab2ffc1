"""The ground floor: the exception tree and the shared types. Imports nothing of ours, and no torch."""
