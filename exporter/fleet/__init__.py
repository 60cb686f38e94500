"""Sweeps over checkpoints, targets and precisions on one machine or many; imported by the command line alone."""
