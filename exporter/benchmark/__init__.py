"""Latency of artifacts: interleaved rounds, their statistics, the machine's fingerprint, devices elsewhere.

Imports core, graph, inference, backends, proof (`recommend` alone) and bundle. Only verification on a device,
workflows, api, cli and pages import it.
"""
