"""Is the artifact the trained model? References, noise floors, parity, precision, accuracy, the gate."""
