"""The fixture in a suite of its own, run by pytest in a process of its own."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from slide_export import pytest_plugin

pytest_plugins = "pytester"

SUITE = "import pytest\n" + textwrap.dedent((pytest_plugin.__doc__ or "").split("\n\n")[1])  # the plugin's own example
OPEN_SUITE = """
def test_parity(slide_export_bundle):
    assert slide_export_bundle.manifest.target == "onnx"
"""
STRICT = ("--strict-markers", "-W", "error", "-p", "no:xdist", "-p", "no:cacheprovider")


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A directory of tests beside two bundles, `small` and `altered`."""
    (pytester.path / "exported").mkdir()
    return pytester


def put(suite: pytest.Pytester, bundles: Path) -> None:
    for name in ("small", "altered"):
        (suite.path / "exported" / name).symlink_to(bundles / name)


def test_two_bundles_are_two_tests_and_the_altered_one_fails_with_its_numbers(
    suite: pytest.Pytester, exported: Path
) -> None:
    put(suite, exported)
    suite.makepyfile(SUITE)
    done = suite.runpytest_subprocess(*STRICT, "-v")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["*test_parity?exported/altered? FAILED*", "*test_parity?exported/small? PASSED*"])
    done.stdout.fnmatch_lines(["E *exported/altered not equal: expected logits within *, found *", "E *logits *dB*"])
    done.stdout.no_fnmatch_line("*verification.py*")  # the team's test is to blame, so no line of ours is shown


def test_the_reference_is_derived_from_a_checkpoint_beside_the_suite(
    suite: pytest.Pytester, exported: Path, checkpoint: Path
) -> None:
    put(suite, exported)
    (suite.path / "ckpt.pth").symlink_to(checkpoint)
    (suite.path / "other.pth").write_text("no checkpoint")
    against = "\n".join(
        f"def test_{name}(slide_export_bundle):\n    assert slide_export_bundle.verify('{name}.pth').passed"
        for name in ("ckpt", "other")
    )
    suite.makepyfile(against)
    done = suite.runpytest_subprocess(*STRICT, "--slide-export-bundle", "exported/small")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["E *exported/small not proved: expected a PyTorch checkpoint, *other.pth*"])


def test_no_bundle_is_a_failure_and_no_skip(suite: pytest.Pytester) -> None:
    suite.makepyfile(SUITE)
    done = suite.runpytest_subprocess(*STRICT)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*expected a bundle with a manifest.json at *exported/[*], found none*"])


def test_bundles_that_nobody_names_are_asked_for(suite: pytest.Pytester) -> None:
    suite.makepyfile(OPEN_SUITE)
    done = suite.runpytest_subprocess(*STRICT)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*expected bundles for the fixture slide_export_bundle, found none named: mark the*"])


def test_the_ini_file_names_bundles_and_the_command_line_others(suite: pytest.Pytester, exported: Path) -> None:
    put(suite, exported)
    suite.makepyfile(OPEN_SUITE)
    suite.makeini("[pytest]\nslide_export_bundles =\n    exported/small\n    exported/a*\n")
    suite.runpytest_subprocess(*STRICT).assert_outcomes(passed=2)
    suite.runpytest_subprocess(*STRICT, "--slide-export-bundle", "exported/small").assert_outcomes(passed=1)


def test_it_costs_a_suite_nothing_that_does_not_use_it(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text("def test_nothing():\n    pass\n")
    script = (
        "import sys, pytest; code = pytest.main(['-q', '-p', 'no:cacheprovider', sys.argv[1]]); "
        "print(int(code), [m for m in ('slide_export.pytest_plugin', 'torch', 'numpy', 'onnx', 'rich', 'click') "
        "if m in sys.modules])"
    )
    line = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "0 ['slide_export.pytest_plugin']"
