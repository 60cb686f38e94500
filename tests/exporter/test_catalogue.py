"""The shipped tables against what is counted, and what the catalogue says of each variant."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from slide_export import catalogue
from slide_export.catalogue import Counts, Proof, count
from slide_export.errors import RequestError
from slide_export.fuse import fuse
from slide_export.models import FAMILIES, family_of, variants

from tests.benchmarks.speed import random_model

ALL = variants()
STAGES = ((64, 1, 8), (128, 2, 4))  # width, heads and reduction of PVT's first two
COUNTED = catalogue.read_table("counts.json")
SMALLEST = [min(family.variants, key=lambda name: int(COUNTED[name]["macs"])) for family in FAMILIES]
DIFFERENT = {
    "pvt_v2_b0": "3.67 M counted from upstream's own code, 3.4 published",
    "pvt_v2_b1": "14.0 M counted from upstream's own code, 13.1 published",
    "slide_pvt_v2_b2": "23.6 M by the configuration that fits all other figures, 22.8 published",
}


def test_it_lists_the_zoo_in_order() -> None:
    assert [entry.variant for entry in catalogue.catalogue()] == list(ALL)


def test_one_family_alone() -> None:
    found = catalogue.catalogue("slide_pvt")
    assert [entry.variant for entry in found] == ["slide_pvt_tiny", "slide_pvt_small", "slide_pvt_medium"]
    assert found[0].published is not None
    assert found[0].published.top1 == 78.0
    assert found[2].published is None


def test_an_unknown_family_is_refused_with_the_list() -> None:
    with pytest.raises(RequestError, match=r"expected a family of slide_swin, .*; found 'resnet'"):
        catalogue.catalogue("resnet")


@pytest.mark.parametrize("name", SMALLEST)
def test_shipped_counts_are_the_counted_ones(name: str) -> None:
    assert COUNTED[name] == asdict(count(family_of(name), name)), "run `make counts`"


@pytest.mark.slow
def test_every_shipped_count_is_the_counted_one() -> None:
    assert catalogue.count_all() == COUNTED, "run `make counts`"


def test_counts_are_the_known_ones() -> None:
    counts = count(family_of("pvt_tiny"), "pvt_tiny")
    assert counts.parameters == 13_229_288
    assert counts.macs / 1e9 == pytest.approx(1.93, abs=0.005)
    assert counts.fused_macs == counts.macs


def test_a_variant_without_shipped_counts_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "read_table", lambda file: {})
    found = catalogue.catalogue("slide_pvt")[0]
    parent, blocks = (
        13_229_288,
        2,
    )  # of PVT-T, and of each of its stages; below: convolutions and tables against sr, norm
    added = sum(2 * (9 * 64 * 9 + 9 * 64) + 9 * heads - (c * c * sr**2 + 3 * c) for c, heads, sr in STAGES)
    assert found.counts.parameters == parent + blocks * added
    assert found.counts.fused_macs < found.counts.macs
    assert found.proved == {}


def test_proofs_are_read_from_the_table_that_the_matrix_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    proof = {"sqnr_db": 130.1, "evaluator": "ONNX Runtime"}
    counts = {"pvt_tiny": {"parameters": 1, "macs": 3, "fused_macs": 2}}
    (tmp_path / "proved.json").write_text(json.dumps({"pvt_tiny": {"onnx": {"fp32": proof}}}))
    (tmp_path / "counts.json").write_text(json.dumps(counts))
    monkeypatch.setattr(catalogue.importlib.resources, "files", lambda package: tmp_path)
    monkeypatch.setattr(catalogue, "count", lambda family, name: Counts(0, 0, 0))
    first, second = catalogue.catalogue("pvt")[:2]
    assert first.counts == Counts(1, 3, 2)
    assert first.proved == {"onnx": {"fp32": Proof(130.1, "ONNX Runtime")}}
    assert second.proved == {}


@pytest.mark.parametrize("entry", catalogue.catalogue(), ids=lambda entry: entry.variant)
def test_published_parameters_are_ours_but_for_the_known(entry: catalogue.Entry) -> None:
    if entry.published is not None and entry.variant not in DIFFERENT:
        assert entry.counts.parameters / 1e6 == pytest.approx(entry.published.parameters_m, rel=0.03)


def test_what_a_variant_costs_is_known_as_it_stands_and_counted_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"pvt_v2_b0": {"parameters": 1, "macs": 3, "fused_macs": 2}}
    monkeypatch.setattr(catalogue, "read_table", lambda file: known)
    as_it_stands, smaller = random_model("pvt_v2_b0"), random_model("pvt_v2_b0", num_classes=10)
    assert catalogue.macs_of(fuse(as_it_stands)) == 2
    assert catalogue.macs_of(fuse(smaller)) == count(family_of("pvt_v2_b0"), "pvt_v2_b0").macs - 990 * 256
