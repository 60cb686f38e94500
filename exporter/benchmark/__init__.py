"""What `latency` needs: a process for each artifact, statistics of rounds, the machine's fingerprint, profiles."""

ROUNDS, CALLS = 20, 5  # of a measurement, unless something else is asked for
TIMEOUT_S = 300.0  # of one answer of a process: loading, or a round
