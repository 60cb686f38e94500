"""A missing Debian package skips a test with its name; one that is there does not."""

import pytest

from tests.deploy_examples import conftest


def test_a_missing_package_skips_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "_there", lambda witness: witness != "/usr/include/nlohmann/json.hpp")
    with pytest.raises(pytest.skip.Exception, match="needs nlohmann-json3-dev "):
        conftest.require("g++", "nlohmann-json3-dev")
    conftest.require("g++", "cmake")


def test_a_file_and_a_program_are_found_and_others_are_not() -> None:
    assert conftest._there("sh")
    assert conftest._there("/bin/sh")
    assert not conftest._there("no-such-program")
    assert not conftest._there("/usr/include/no-such-header.hpp")


def test_a_package_that_make_does_not_install_is_no_excuse() -> None:
    with pytest.raises(KeyError):
        conftest.require("no-such-package")
