"""The directory that ships: artifact, manifest, golden file, report."""
