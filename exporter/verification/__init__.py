"""Many bundles proved in one go, and what people and CI read of it."""
