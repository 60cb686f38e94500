"""The fixture that saves a program as a package, shared with the linter's tests."""

from tests.exporter.linter.conftest import save

__all__ = ["save"]
