"""`make bench`: every measurement, as Markdown on standard output."""

from . import export_cost, speed
from .machine import machine

print(f"# Measured on {machine()}\n\nCommand: `make bench`; nothing else ran.\n")
export_cost.main()
print()
speed.main()
