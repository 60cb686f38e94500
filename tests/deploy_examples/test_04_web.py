"""The page of 04_web in a real browser, as a visitor uses it; its preprocessing in node, beside Pillow."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from slide_export.benchmark import result_file as result
from slide_export.bundle.records import PRECISIONS
from slide_export.inference.preprocess import crop, normalise
from slide_export.models import DataConfig
from slide_export.pages.validate import refuse_unsound
from tests import bundles
from tests.deploy_examples.browser import Page, chromium
from tests.deploy_examples.conftest import EXAMPLES, require
from tests.deploy_examples.npm import installed
from tests.deploy_examples.restated import move_golden
from tests.deploy_examples.truth import best

EXAMPLE = EXAMPLES / "04_web"
DECIDED = "['equal', 'unequal'].includes(document.querySelector('#verdict').dataset.state)"
MEASURED = "!document.querySelector('#save').disabled"

FIT = """
import { readFileSync } from 'node:fs';
import { fit, tensor } from '%s/preprocess.js';
for (const { pixels, width, height, wanted } of JSON.parse(readFileSync(0))) {
  const seen = fit({ data: Uint8Array.from(pixels), width, height }, wanted);
  process.stdout.write(seen.data);
  process.stdout.write(Buffer.from(tensor(seen, wanted).data.buffer));
}
"""


def fitted(picture: NDArray[np.uint8], data: DataConfig, size: tuple[int, int]) -> tuple[bytes, bytes]:
    """The pixels and the tensor that the page's own modules make of a picture."""
    wanted = {**asdict(data), "resize": data.resized(size), "crop": size, "embedded": False}
    height, width, _ = picture.shape
    asked = [{"pixels": picture.ravel().tolist(), "width": width, "height": height, "wanted": wanted}]
    program = FIT % (EXAMPLE / "src/bundle").as_uri()
    command = ["node", "--input-type=module", "--eval", program]
    said = subprocess.run(command, input=json.dumps(asked).encode(), capture_output=True, check=True).stdout
    return said[: size[0] * size[1] * 3], said[size[0] * size[1] * 3 :]


@pytest.mark.parametrize(
    ("height", "width", "size", "data"),
    [
        (30, 45, (64, 64), DataConfig(keep_aspect=False, scale=1.0)),
        (301, 200, (56, 40), DataConfig()),
        (97, 211, (48, 33), DataConfig(interpolation="bilinear")),
        (64, 64, (64, 64), DataConfig(keep_aspect=False, scale=1.0)),
        (75, 50, (47, 32), DataConfig(scale=1.0)),
        (200, 113, (40, 59), DataConfig(keep_aspect=False)),
        (60, 131, (64, 96), DataConfig(interpolation="bilinear", fits=True)),
        (131, 60, (64, 96), DataConfig(fits=True)),
    ],
    ids=["enlarged", "shrunk", "bilinear", "untouched", "odd margin", "columns first", "fitted", "fitted upright"],
)
def test_preprocessing_is_pillows_to_the_bit(height: int, width: int, size: tuple[int, int], data: DataConfig) -> None:
    require("nodejs")
    # Black and white alone: bicubic overshoots, so that clipping is tested too.
    picture = np.random.default_rng(0).integers(0, 2, (height, width, 3)).astype(np.uint8) * 255
    expected = crop(Image.fromarray(picture), data, size)
    pixels, tensor = fitted(picture, data, size)
    np.testing.assert_array_equal(np.frombuffer(pixels, np.uint8).reshape(expected.shape), expected)
    np.testing.assert_array_equal(
        np.frombuffer(tensor, np.float32).reshape(1, 3, *size), normalise(expected[None], data)
    )


@pytest.mark.parametrize("older", [False, True], ids=["schema 2", "schema 1"])
def test_what_was_renamed_is_read_by_either_name(older: bool, tmp_path: Path) -> None:
    require("nodejs")
    (tmp_path / "manifest.json").write_text(bundles.minimal(precision=PRECISIONS["fp16"]).to_json())
    if older:
        bundles.as_schema_1(tmp_path)
    schema = (EXAMPLES / "04_web" / "src" / "bundle" / "schema.js").as_uri()
    program = f"""
        import {{ readFileSync }} from 'node:fs';
        import {{ SCHEMAS, formOf, precisionOf }} from {json.dumps(schema)};
        const manifest = JSON.parse(readFileSync(0));
        console.log(SCHEMAS.includes(manifest.schema), precisionOf(manifest), formOf(manifest));
    """
    command = ["node", "--input-type=module", "--eval", program]
    told = (tmp_path / "manifest.json").read_bytes()
    assert subprocess.run(command, input=told, capture_output=True, check=True).stdout == b"true fp16 taps\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, installed and built."""
    require("nodejs", "npm", "chromium")
    return installed("04_web", tmp_path_factory, "build")


@contextmanager
def preview(site: Path, bundle: Path | None = None) -> Iterator[str]:
    """The address at which the built page is served."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["node", "node_modules/vite/bin/vite.js", "preview", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "BUNDLE": str(bundle or ""), "NO_COLOR": "1"}
    with subprocess.Popen([*command, "--strictPort"], cwd=site, env=environment, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            assert any(b"Local" in line for line in server.stdout), "the server ended"
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def page(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page, served without a bundle."""
    with preview(site) as url, chromium(tmp_path_factory.mktemp("profile")) as tab:
        tab.open(url)
        tab.until("document.querySelector('#start').hidden === false")
        yield tab


def test_a_served_bundle_is_proved_and_classifies_as_in_python(
    site: Path, onnx_bundle: Path, seven: Path, tmp_path: Path
) -> None:
    with preview(site, onnx_bundle) as url, chromium(tmp_path / "profile") as page:
        page.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        page.open(url)
        page.until(DECIDED)
        assert "proved equal" in page.text("#verdict")
        page.until(MEASURED)
        page.drop(seven)
        page.until("document.querySelector('#classes').children.length === 5")
        label, percent = page.text("#classes li").split("\n")
        page.click("#save")
        saved = wait_for_json(page, tmp_path)
    name, share = best(onnx_bundle, seven)
    assert (label, percent) == (name, f"{share:.1f}%")
    found = result.read(saved)
    refuse_unsound(found, str(saved))
    (run,) = found.runs
    assert run.subject.parity is not None and run.subject.parity["passed"]
    times = np.asarray(run.rounds_ms)
    np.testing.assert_allclose([run.p50_ms.value, run.p99_ms.value], np.percentile(times, [50, 99]), rtol=1e-12)
    assert run.p50_ms.low <= run.p50_ms.value <= run.p50_ms.high
    assert found.protocol.threads == min(4, os.cpu_count() or 1)  # so the page is cross-origin isolated


def wait_for_json(page: Page, folder: Path) -> Path:
    """The file that the page has saved, when it is whole."""
    for _ in range(200):
        if found := sorted(folder.glob("*.json")):
            return found[0]
        page.evaluate("new Promise((done) => setTimeout(done, 50))")
    raise AssertionError(f"nothing was saved; the page says: {page.text()}")


@pytest.mark.slow
def test_webgpu_is_proved_too(site: Path, onnx_bundle: Path, tmp_path: Path) -> None:
    # Chromium's own software adapter: slow, but WebGPU's kernels.
    gpu = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan")
    with preview(site) as url, chromium(tmp_path / "profile", gpu) as page:
        page.open(url)
        page.until("document.querySelector('#start').hidden === false")
        page.evaluate("document.querySelector('#backend').lastElementChild.selected = true")
        page.drop(onnx_bundle)
        page.until(DECIDED, patience_s=400)
        page.evaluate("document.querySelector('details').open = true")
        said = page.text("#verdict")
    assert "proved equal" in said and "on WebGPU" in said


def test_one_altered_reference_value_is_not_equal(page: Page, onnx_bundle: Path, tmp_path: Path) -> None:
    page.drop(move_golden(Path(shutil.copytree(onnx_bundle, tmp_path / "altered"))))
    page.until(DECIDED)
    said = page.text("#verdict")
    assert "NOT equal" in said and "logits is off by 1.00e-3 at most, allowed" in said


def remove_artifact(copy: Path) -> None:
    (copy / "model.onnx").unlink()


def append_to_artifact(copy: Path) -> None:
    with (copy / "model.onnx").open("ab") as file:
        file.write(b"\0")


def retarget(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "target": "openvino"}))


def remove_manifest(copy: Path) -> None:
    (copy / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (remove_artifact, "expected model.onnx in the dropped folder, found none: the bundle is incomplete"),
        (append_to_artifact, "expected model.onnx as it was exported, its sha256 differs in the dropped folder"),
        (retarget, "expected a bundle for onnx, the dropped folder is for openvino"),
        (remove_manifest, "expected a bundle of slide-export, found no manifest.json in the dropped folder"),
    ],
)
def test_a_broken_bundle_is_refused_in_one_sentence(
    page: Page, onnx_bundle: Path, tmp_path: Path, break_it: Any, sentence: str
) -> None:
    copy = Path(shutil.copytree(onnx_bundle, tmp_path / "broken"))
    break_it(copy)
    page.evaluate("document.querySelector('#alert').hidden = true")
    page.drop(copy)
    page.until("!document.querySelector('#alert').hidden")
    assert sentence in page.text("#alert")


def test_the_camera_may_be_refused_and_a_text_is_no_image(page: Page, onnx_bundle: Path, tmp_path: Path) -> None:
    page.drop(onnx_bundle)
    page.until(f"{DECIDED} && {MEASURED}")
    page.click("#camera")
    page.until("!document.querySelector('#alert').hidden")
    assert page.text("#alert").startswith("expected a camera, ")
    text = tmp_path / "notes.png"
    text.write_text("no image")
    page.drop(text)
    page.until("document.querySelector('#alert').textContent.includes('notes.png')")
    assert "expected an image, notes.png cannot be decoded" in page.text("#alert")


def test_the_lock_file_names_no_registry() -> None:
    for lock in EXAMPLES.glob("*/package-lock.json"):
        assert '"resolved"' not in lock.read_text(), f"{lock}: run npm install with this folder's .npmrc"
