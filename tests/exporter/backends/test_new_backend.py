"""A backend is one file or folder: two new ones, in a directory beside the package's, go through every verb.

`minimal` is one file with `lower` and `Session` alone; `complete` is a folder with every optional part. Whatever a verb
cannot do without a part it refuses by name: exit code 2 and one sentence.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from slide_export import backends as package
from slide_export import calibration
from slide_export.backends import registry as backends
from slide_export.backends.optional import COMMON_FORM
from slide_export.calibration.recipe import default
from slide_export.cli import main as cli
from slide_export.core.errors import RequestError

PHOTOS = Path(calibration.__file__).parent / "photos"

MINIMAL = '''
"""An ONNX graph in a file of another name, computed by ONNX Runtime."""

from slide_export.core.artifact import Artifact
from slide_export.core.graph import OnnxGraph

ACCEPTS = OnnxGraph
PRECISIONS = {"fp32": False, "fp16": True, "int8": True, "w8": True}
DISTRIBUTIONS = ("onnxruntime",)
OPTIONS = {}


def lower(graph, directory, options):
    path = directory / "graph.bin"
    path.write_bytes(graph.proto.SerializeToString(deterministic=True))
    return Artifact("minimal", options.precision, path, graph.inputs, graph.outputs)


class Session:
    def __init__(self, path, settings):
        import onnxruntime

        self._session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        self.evaluator = "a runtime of a test"

    def run(self, feeds):
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
'''

COMPLETE = '''
"""What the backend `onnx` has, under another name and with other preferences."""

from dataclasses import replace

from slide_export.backends import onnx as base
from slide_export.core.lint import LintFact

ACCEPTS = base.ACCEPTS
PRECISIONS = {"fp32": False, "int8": True}
DISTRIBUTIONS = base.DISTRIBUTIONS
OPTIONS = {}
RUNTIME = ("onnxruntime",)
DEFAULT_FORM = "gemm_per_tap"
INSTALL = "pip install complete-runtime"
LINT = (LintFact("rank", "hint", "use fewer axes", "a test", limit=3),)
Session = base.Session
dtype_stats, profile, values, intermediates = base.dtype_stats, base.profile, base.values, base.intermediates


def unavailable_reason():
    return None


def substitute_runtime():
    return "ONNX Runtime in the place of a runtime of a test: its time says nothing"


def lower(graph, directory, options):
    return replace(base.lower(graph, directory, options), target="complete")
'''

EXTEND = """
import slide_export.backends

slide_export.backends.__path__.append({directory!r})
"""


@pytest.fixture(scope="module", autouse=True)
def new_backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The two beside the package's own, here and in every process that is started from here."""
    directory, startup = tmp_path_factory.mktemp("backends"), tmp_path_factory.mktemp("startup")
    (directory / "minimal.py").write_text(MINIMAL)
    (directory / "complete").mkdir()
    (directory / "complete" / "__init__.py").write_text(COMPLETE)
    shutil.copy(Path(package.__path__[0]) / "onnx" / "int8.yaml", directory / "complete")
    (startup / "sitecustomize.py").write_text(EXTEND.format(directory=str(directory)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "__path__", [*package.__path__, str(directory)])
        patch.setenv("PYTHONPATH", str(startup))
        yield


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the bundles: minimal in fp32 and fp16, complete in fp32 and int8; all with `--form auto`."""
    out = tmp_path_factory.mktemp("exported")
    common = ["export", str(checkpoint), "--out", str(out), "--image-count", "1", "--name", "m"]
    images = ["--images", str(PHOTOS), "--calibration-size", "4"]
    assert cli.run([*common, "--target", "minimal"]) == 0
    assert cli.run([*common, "--target", "minimal", "--precision", "fp16"]) == 0
    assert cli.run([*common, "--target", "complete"]) == 0
    assert cli.run([*common, "--target", "complete", "--precision", "int8", *images]) == 0
    return out


def refused(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """The sentence that a command line is refused with, once it is refused as it should be."""
    capfd.readouterr()
    assert cli.run(arguments) == 2
    said = capfd.readouterr().err
    assert "Traceback" not in said
    return " ".join(said.split())


def manifest(bundle: Path) -> str:
    return (bundle / "manifest.json").read_text()


def test_single_files_and_folders_are_found_alike() -> None:
    assert {"minimal", "complete", "onnx"} <= set(backends.names())
    assert not {"interface", "optional", "registry"} & set(backends.names())


def test_auto_is_the_backends_own_form_or_the_common_one(exported: Path) -> None:
    assert json.loads(manifest(exported / "m-minimal-fp32"))["options"]["form"] == COMMON_FORM
    assert json.loads(manifest(exported / "m-complete-fp32"))["options"]["form"] == "gemm_per_tap"


def test_what_nobody_counted_is_said(exported: Path) -> None:
    assert "does not count what an artifact stores and computes" in manifest(exported / "m-minimal-fp16")
    assert "100% of weight bytes are float32" in manifest(exported / "m-complete-fp32")


@pytest.mark.parametrize("precision", ["int8", "w8"])
def test_a_precision_without_a_recipe_is_refused_by_name(
    precision: str, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["export", str(checkpoint), "--target", "minimal", "--precision", precision, "--out", str(tmp_path)]
    said = refused([*command, "--images", str(PHOTOS)], capfd)
    assert f"a quantization recipe of {precision} does not come with minimal, it has no recipes: give one" in said
    assert not list(tmp_path.iterdir())


def test_a_recipe_of_the_users_is_enough(checkpoint: Path, tmp_path: Path) -> None:
    recipe = Path(package.__path__[0]) / "onnx" / "w8.yaml"
    command = ["export", str(checkpoint), "--target", "minimal", "--precision", "w8", "--out", str(tmp_path)]
    assert cli.run([*command, "--image-count", "1", "--quantization-recipe", str(recipe)]) == 0


def test_a_missing_recipe_names_those_that_there_are() -> None:
    with pytest.raises(RequestError, match="does not come with complete, it has recipes of int8: give one"):
        default("complete", "w8")


@pytest.mark.parametrize("name", ["m-minimal-fp32", "m-minimal-fp16", "m-complete-fp32", "m-complete-int8"])
def test_every_bundle_verifies(name: str, exported: Path) -> None:
    assert cli.run(["verify", str(exported / name)]) == 0


def test_lint_knows_both_and_asks_each_for_its_own_rules(
    checkpoint: Path, exported: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["lint", str(checkpoint), "--target", "minimal", "--target", "complete", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert {target for finding in found for target in finding["targets"]} == {"minimal", "complete"}
    own = {tuple(finding["targets"]) for finding in found if finding["source"] == "a test"}
    assert own == {("complete",)}
    assert cli.run(["lint", str(exported / "m-complete-fp32")]) == 0
    assert "lint the checkpoint instead" in refused(["lint", str(exported / "m-minimal-fp32")], capfd)


def test_a_bundle_is_measured_and_its_profile_refused_by_name(
    exported: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", str(exported / "m-minimal-fp32"), "--rounds", "1", "--calls", "1"]
    assert cli.run(command) == 0
    said = refused([*command, "--profile"], capfd)
    assert "a profile is not available for minimal: its backend times no single operations" in said


def test_a_substitute_is_measured_where_it_is_asked_for(exported: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["bench", str(exported / "m-complete-fp32"), "--rounds", "1", "--calls", "1", "--profile", "--json"]
    assert cli.run(command) == 3
    capfd.readouterr()
    assert cli.run([*command, "--stand-in"]) == 0
    (run,) = json.loads(capfd.readouterr().out)["runs"]
    assert run["profile"]


def test_recommend_chooses_between_its_precisions(exported: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bundles = [str(exported / f"m-minimal-{precision}") for precision in ("fp32", "fp16")]
    assert cli.run(["recommend", *bundles, "--rounds", "6", "--calls", "1"]) == 0
    assert "minimal fp" in capfd.readouterr().out


def test_diagnose_needs_values_and_says_so(exported: Path, checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    against = ["--against", str(checkpoint)]
    said = refused(["diagnose", str(exported / "m-minimal-fp32"), *against], capfd)
    assert "diagnose is not available for minimal: it shows no intermediate values" in said
    assert cli.run(["diagnose", str(exported / "m-complete-fp32"), *against]) == 0


def test_no_device_runs_them(exported: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from slide_export.benchmark.devices.remote_python import portable
    from slide_export.core.errors import BackendUnavailable

    with pytest.raises(BackendUnavailable, match="for a device, found minimal"):
        portable("minimal")


def test_targets_lists_them_with_their_installation(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["targets", "--json"]) == 0
    found = {target["target"]: target for target in json.loads(capfd.readouterr().out)}
    assert found["minimal"]["install"] == 'pip install "slide-export[minimal]"'
    assert found["complete"]["install"] == "pip install complete-runtime"
    assert found["minimal"]["precisions"] == ["fp32", "fp16", "int8", "w8"]
