"""Faults on purpose: damaged files, killed processes, failed system calls. `python -m tests.faults SUITE --cases N`."""
