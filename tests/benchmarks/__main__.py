"""`make bench`: every measurement, as Markdown on standard output."""

from tests.benchmarks.machine import machine

from . import batches, export_cost, limits, native, peers, speed, systems

print(f"# Measured on {machine()}\n\nCommand: `make bench`; nothing else ran.\n")
export_cost.main()
print()
speed.main()
print()
systems.main()
print()
peers.main()
print()
batches.main()
print()
limits.main()
print()
native.main()
