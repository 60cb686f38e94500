"""Measurements, run by `make bench`; no test asserts a time. RESULTS.md holds what they printed, and where."""
