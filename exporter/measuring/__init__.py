"""What `latency` needs: a process for each artifact, statistics of rounds, the machine's fingerprint, profiles."""
