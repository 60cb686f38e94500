"""A manifest is read whole or refused by the name of the field, and what is written is what its schema publishes."""

import copy
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slide_export.bundle import manifest as contract
from slide_export.bundle import store
from slide_export.bundle.manifest import GOLDEN, MANIFEST, Manifest, from_json
from slide_export.bundle.records import (
    PRECISIONS,
    AccuracyRecord,
    Assumption,
    FileRecord,
    HitsRecord,
    OptionsRecord,
    PlainLoadRecord,
    QuantizationRecord,
    StageRecord,
)
from slide_export.bundle.store import Bundle
from slide_export.calibration.report import AuditFinding, CalibrationReport
from slide_export.calibration.sensitivity import MixedSearch, Sensitivity
from slide_export.core.errors import BundleError
from slide_export.core.float_build import FloatBuild, StoredFault, StoredReport
from slide_export.core.model import BlockCertificate
from slide_export.core.proof import Flip
from slide_export.verification import bundle as verification
from tests.bundles import OUTPUT, minimal

SCHEMA_1 = Path(__file__).parent / "schema_1"
"""Written by the last code of schema 1: a Slide-Swin of 3 blocks and 8 channels, random weights, two photographs."""
SCHEMA_FILE = Path(contract.__file__).with_name("manifest.schema.json")
FILES = {name: FileRecord(7, "0" * 64) for name in ("model.onnx", GOLDEN)}
HITS = HitsRecord(0.9, None)
FULL = minimal(
    files=FILES,
    options=OptionsRecord("taps,grouped", "slide_swin_tiny", 2, True, True, False, ("head",)),
    tuning=(StageRecord("layers.0", (8, 8, 16), 2, 3, {"taps": 1.5}, "a CPU", "taps"),),
    labels=("cat", "dog"),
    assumptions=(Assumption("scale", 2, "the file name", "--model scale=2"),),
    fusion=(BlockCertificate("layers.0", 1e-8, 1e-7, True, 0.0),),
    quantization=QuantizationRecord(True),
    calibration=CalibrationReport("photos", 8, "0" * 64, (AuditFinding("few-images", "warning", "few"),)),
    accuracy=AccuracyRecord(
        *("a test", "photos", "0" * 64, 10, HITS, HITS, 1, 1, 1.0, 0.0, (-1.0, 1.0), 0.8, 40.0, 1.0, None),
        **{"passed": True, "sentence": "nothing lost"},
    ),
    mixed=MixedSearch("int8", (Sensitivity("head", 20.0),), ("head",), "much", "little"),
    float_build=FloatBuild(
        "a test", 8, 1e-6, 8e-6, True, StoredReport(2, 24, (StoredFault("head.weight", 1, 12, 2.0, "[0] is 1"),))
    ),
    plain_load=PlainLoadRecord(
        *("load()", False, {"hint": "f32"}, "it chooses", ("bfloat16",), ("float32",), "a test", 0.1, 0.01, False),
        sentence="it differs",
    ),
)


def refusal(content: Any) -> str:
    with pytest.raises(BundleError) as refused:
        from_json(content if isinstance(content, str | bytes) else json.dumps(content), "exported/b")
    return str(refused.value)


def content_of(manifest: Manifest) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(manifest.to_json())
    return content


def changed(content: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """A copy with the value at a path replaced, or removed where it is `...`."""
    copied = copy.deepcopy(content)
    inner = copied
    for part in path[:-1]:
        inner = inner[part]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return copied


@pytest.mark.parametrize("manifest", [minimal(files=FILES), FULL], ids=["smallest", "every field"])
def test_what_is_written_is_read_back(manifest: Manifest) -> None:
    assert from_json(manifest.to_json(), "b") == manifest


def test_what_is_not_finite_is_null_and_tells_exact_from_broken() -> None:
    exact = replace(OUTPUT, max_abs=0.0, mean_abs=0.0, rms=0.0, sqnr_db=math.inf)
    broken = replace(OUTPUT, max_abs=math.inf, rms=math.nan, sqnr_db=math.nan, cosine=math.nan)
    accuracy = FULL.accuracy
    assert accuracy is not None
    parity = replace(FULL.parity, outputs=(exact, broken), flips=(Flip("a", 0, 1, math.nan),))
    text = replace(FULL, parity=parity, accuracy=replace(accuracy, sqnr_db=math.inf)).to_json()
    json.loads(text, parse_constant=pytest.fail)
    found = from_json(text, "b")
    assert found.parity.outputs[0] == exact
    assert not found.parity.outputs[1].passed
    assert math.isnan(found.parity.outputs[1].sqnr_db)
    assert found.accuracy is not None
    assert found.accuracy.sqnr_db == math.inf


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("parity",), ..., "expected parity to be an object, found nothing"),
        (("parity", "outputs", 0, "name"), ..., "expected parity.outputs[0].name to be text, found nothing"),
        (("parity", "top1"), "1.0", 'expected parity.top1 to be a finite number or null, found "1.0"'),
        (("parity", "multiple"), math.inf, "expected parity.multiple to be a finite number, found Infinity"),
        (("parity", "images"), True, "expected parity.images to be a whole number, found true"),
        (("artifact", "bytes"), -1, "expected artifact.bytes to be at least 0, found -1"),
        (
            ("artifact", "path"),
            "../x",
            'expected artifact.path to be one of `files` or a directory of them, found "../x',
        ),
        (("artifact", "settings", "a"), math.nan, "expected artifact.settings.a to be a finite number, found NaN"),
        (("model", "image_size"), [64], "expected model.image_size to be a list of 2, found a list of 1"),
        (("model", "parameters"), 10**400, "expected model.parameters to be a whole number, found 1000"),
        (("inputs", 0, "shape", 0), None, "expected inputs[0].shape[0] to be a whole number or text, found null"),
        (("checkpoint", "sha256"), "abc", 'expected checkpoint.sha256 to be 64 hexadecimal digits, found "abc"'),
        (("options", "lowering"), "taps", "expected options.lowering to be absent (the fields are form, variant"),
        (("files", GOLDEN), ..., f"expected files.{GOLDEN} to be an object, found nothing"),
        (("labels",), "cat", 'expected labels to be a list, found "cat"'),
        (("schema",), True, "expected a manifest of schema 2 or older, found true"),
        (("schema",), 3, "expected a manifest of schema 2 or older, found 3"),
    ],
)
def test_the_field_that_is_wrong_is_named(path: tuple[str | int, ...], value: Any, expected: str) -> None:
    said = refusal(changed(content_of(FULL), path, value))
    assert said.startswith(expected)
    assert "exported/b" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "null",
            "[]",
            '"schema"',
            "{",
            '{"schema": 2, "schema": 2}',
            "[" * 100_000,
            '{"schema": ' + "9" * 5000 + "}",
        ),
        *('{"schema": 2, "a": ' + "[" * 600 + "]" * 600 + "}", '{"schema": 1, "a": ' + "[" * 600 + "]" * 600 + "}"),
        *(b"\xff\xfe", b'{"schema": 2}', '{"schema": 1}', '{"schema": 2, "\\ud800": "\\udfff"}'),
    ],
    ids=lambda text: repr(text[:16]),
)
def test_any_other_text_is_one_sentence(text: str | bytes) -> None:
    said = refusal(text)
    assert said.startswith("expected ")
    assert "\n" not in said
    said.encode()  # nothing in it that a terminal could not be given


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


def places(content: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths of everything inside a value."""
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [found for name, part in inside for found in ((*path, name), *places(part, (*path, name)))]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), JSON, st.sampled_from([1, 2]))
def test_a_manifest_with_anything_anywhere_is_read_or_refused(data: st.DataObject, value: Any, schema: int) -> None:
    whole = content_of(FULL) if schema == 2 else json.loads((SCHEMA_1 / MANIFEST).read_text())
    path = data.draw(st.sampled_from(places(whole)))
    altered = json.dumps(changed(whole, path, data.draw(st.sampled_from([value, ...]))))
    try:
        found = from_json(altered, "b")
    except BundleError as error:
        assert "\n" not in str(error)
    else:
        assert from_json(found.to_json(), "b").to_json() == found.to_json()


def test_the_schema_file_is_that_of_the_dataclasses() -> None:
    expected = json.dumps(contract.json_schema(), indent=2) + "\n"
    assert SCHEMA_FILE.read_text() == expected, "write slide_export.bundle.manifest.json_schema() to the file again"


def test_real_manifests_are_of_the_published_schema(onnx_bundle: Bundle, tmp_path: Path) -> None:
    right = [onnx_bundle.path / MANIFEST]
    for name, manifest in (("full", FULL), ("upgraded", contract.load(SCHEMA_1).manifest)):
        right.append(tmp_path / f"{name}.json")
        right[-1].write_text(manifest.to_json())
    check = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(SCHEMA_FILE)]
    done = subprocess.run([*check, *map(str, right)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    wrong = changed(content_of(FULL), ("parity", "outputs", 0, "rms"), "small")
    (tmp_path / "wrong.json").write_text(json.dumps(changed(wrong, ("task",), ...)))
    done = subprocess.run([*check, str(tmp_path / "wrong.json")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "'task' is a required property" in done.stdout
    assert "$.parity.outputs[0].rms" in done.stdout


def test_a_bundle_of_schema_1_still_verifies() -> None:
    made = store.read(SCHEMA_1)
    said = json.loads((SCHEMA_1 / MANIFEST).read_text())
    assert said["schema"] == 1
    assert made.manifest.options.form == said["options"]["lowering"]
    assert made.manifest.dtype_stats.sentence == said["census"]["sentence"]
    assert made.manifest.precision == PRECISIONS["fp32"]
    assert made.manifest.task == "classify"
    assert verification.verify(SCHEMA_1).passed


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("options", "lowering"), 3, "expected options.lowering to be text, found 3"),
        (("options", "lowering"), ..., "expected options.lowering to be text, found nothing"),
        (("census", "stored"), ..., "expected census.stored to be an object, found nothing"),
        (("precision",), "fp8", 'expected precision to be fp32 or fp16 or int8 or w8, found "fp8"'),
    ],
)
def test_a_field_of_schema_1_is_named_as_it_is_there(path: tuple[str, ...], value: Any, expected: str) -> None:
    assert refusal(changed(json.loads((SCHEMA_1 / MANIFEST).read_text()), path, value)).startswith(expected)


def test_importing_it_imports_nothing_heavy() -> None:
    script = "import sys, slide_export.bundle.manifest; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
