"""Faults injected and inputs fuzzed: what must be noticed, refused or survived."""
