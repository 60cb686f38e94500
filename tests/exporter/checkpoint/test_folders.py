"""Which files of a folder are one model's weights; names alone decide, nothing of them is read but indexes and JSON."""

import json
from pathlib import Path
from typing import Any

import pytest

from slide_export.checkpoint.folders import (
    ADAPTERS,
    INDEXES,
    OTHER_FRAMEWORKS,
    TRAINING,
    WHOLE,
    find_weights,
    read_json,
)
from slide_export.core.errors import CheckpointError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def index(folder: Path, weight_map: Any, name: str = INDEXES[0]) -> Path:
    (folder / name).write_text(json.dumps({"weight_map": weight_map}))
    return folder / name


def test_a_file_is_itself() -> None:
    found = find_weights(Path("run/best.pth"))
    assert (found.files, found.container, found.notes) == ((Path("run/best.pth"),), "file", ())


@pytest.mark.parametrize("name", WHOLE)
def test_the_names_that_hubs_use_are_found_and_read_with_their_configuration(name: str, tmp_path: Path) -> None:
    touch(tmp_path, name, "other.pth", "epoch_3.ckpt")
    (tmp_path / "config.json").write_text('{"a": 1}')
    for path in (tmp_path, tmp_path / name):
        found = find_weights(path)
        assert found.files == (tmp_path / name,)
        assert (dict(found.config), dict(found.preprocessor)) == ({"a": 1}, {})
        assert found.notes == ("read config.json beside the weights",)


def test_the_first_of_several_hub_names_is_taken_and_said(tmp_path: Path) -> None:
    touch(tmp_path, "model.safetensors", "pytorch_model.bin")
    found = find_weights(tmp_path)
    assert found.files == (tmp_path / "model.safetensors",)
    assert found.notes == ("weights from model.safetensors, not from pytorch_model.bin",)


def test_an_index_is_taken_before_a_whole_file(tmp_path: Path) -> None:
    touch(tmp_path, "model.safetensors", "a.safetensors", "b.safetensors")
    index(tmp_path, {"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"})
    found = find_weights(tmp_path)
    assert found.files == (tmp_path / "b.safetensors", tmp_path / "a.safetensors")
    assert found.shard_of == {"x": found.files[0], "y": found.files[1], "z": found.files[0]}
    assert found.container == "folder of shards (2)"
    assert find_weights(tmp_path / INDEXES[0]).container == "index of shards (2)"


@pytest.mark.parametrize("weight_map", [None, {}, [], "a", {"x": 3}, {"x": None}])
def test_an_index_without_a_map_of_names_is_refused(weight_map: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="an index of shards with a weight_map"):
        find_weights(index(tmp_path, weight_map))


@pytest.mark.parametrize("name", ["../a.safetensors", "/etc/passwd", "sub/a.safetensors", "."])
def test_a_shard_outside_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    touch(tmp_path, "sub/a.safetensors")
    touch(tmp_path.parent, "a.safetensors")
    with pytest.raises(CheckpointError, match=r"expected shards beside|are missing"):
        find_weights(index(tmp_path, {"x": name}))


def test_missing_shards_are_counted_and_four_are_named(tmp_path: Path) -> None:
    names = {f"w{n}": f"s{n}.bin" for n in range(6)}
    touch(tmp_path, "s5.bin")
    with pytest.raises(CheckpointError, match=r"6 shards .*, 5 are missing: s0\.bin, .*, s3\.bin, and 1 more"):
        find_weights(index(tmp_path, names))
    touch(tmp_path, *names.values())
    assert len(find_weights(tmp_path).files) == 6


def test_one_shard_alone_is_refused_by_its_number() -> None:
    with pytest.raises(CheckpointError, match="is shard 2 of 10: give the folder run"):
        find_weights(Path("run/model-00002-of-00010.safetensors"))
    assert find_weights(Path("run/model-0002-of-0010.safetensors")).container == "file"  # four digits are a name


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_are_no_whole_model(name: str, tmp_path: Path) -> None:
    touch(tmp_path, name)
    with pytest.raises(CheckpointError, match=r"adapter weights \(LoRA\)"):
        find_weights(tmp_path)


@pytest.mark.parametrize("name", OTHER_FRAMEWORKS)
def test_weights_of_another_framework_are_named_only_where_there_are_no_others(name: str, tmp_path: Path) -> None:
    file = name if "." in name[1:] else f"weights{name}"
    touch(tmp_path, file)
    with pytest.raises(CheckpointError, match=f"found {file}, of another framework"):
        find_weights(tmp_path)
    touch(tmp_path, "model.pth")
    assert find_weights(tmp_path).files == (tmp_path / "model.pth",)


@pytest.mark.parametrize("name", TRAINING)
def test_the_state_of_a_training_is_no_checkpoint(name: str, tmp_path: Path) -> None:
    touch(tmp_path, f"{name}.pt", "notes.txt")
    with pytest.raises(CheckpointError, match="found none"):
        find_weights(tmp_path)
    touch(tmp_path, "best.pt")
    found = find_weights(tmp_path)
    assert (found.files, found.notes) == ((tmp_path / "best.pt",), ("weights from best.pt",))


@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".pyth", ".tar"])
def test_the_only_file_with_a_checkpoints_ending_is_taken(ending: str, tmp_path: Path) -> None:
    touch(tmp_path, f"epoch3{ending}", "log.txt", "args.json")
    assert find_weights(tmp_path).files == (tmp_path / f"epoch3{ending}",)
    touch(tmp_path, f"epoch4{ending}")
    with pytest.raises(CheckpointError, match=f"found epoch3{ending}, epoch4{ending}: name one"):
        find_weights(tmp_path)


def test_a_configuration_in_the_place_of_weights_names_the_folder() -> None:
    with pytest.raises(CheckpointError, match=r"found the configuration run/config\.json: give the folder run"):
        find_weights(Path("run/config.json"))


def test_a_hubs_cache_has_one_snapshot(tmp_path: Path) -> None:
    touch(tmp_path, "snapshots/abc/model.safetensors")
    assert find_weights(tmp_path).files == (tmp_path / "snapshots" / "abc" / "model.safetensors",)
    touch(tmp_path, "snapshots/def/model.safetensors")
    with pytest.raises(CheckpointError, match=r"expected one snapshot in .*, found abc, def: name one"):
        find_weights(tmp_path)


def deepspeed(folder: Path, latest: str, *files: str) -> Path:
    (folder / "latest").write_text(latest)
    return touch(folder, *files)


def test_deepspeeds_newest_step_has_whole_weights_or_is_refused(tmp_path: Path) -> None:
    deepspeed(tmp_path, "step5\n", "step5/mp_rank_00_model_states.pt", "step4/mp_rank_00_model_states.pt")
    found = find_weights(tmp_path)
    assert found.files == (tmp_path / "step5" / "mp_rank_00_model_states.pt",)
    assert found.notes == ("weights from step5/mp_rank_00_model_states.pt",)
    touch(tmp_path, "step5/mp_rank_01_model_states.pt")
    with pytest.raises(CheckpointError, match="expected one model states in"):
        find_weights(tmp_path)
    touch(tmp_path, "step5/zero_pp_rank_0_mp_rank_00_model_states.pt")
    with pytest.raises(CheckpointError, match=r"DeepSpeed ZeRO parted: run its zero_to_fp32\.py"):
        find_weights(tmp_path)


@pytest.mark.parametrize("latest", ["gone", "..", "", "step5/.."])
def test_a_latest_that_leads_elsewhere_is_refused(latest: str, tmp_path: Path) -> None:
    inner = tmp_path / "run"
    touch(tmp_path, "run/step5/mp_rank_00_model_states.pt", "mp_rank_00_model_states.pt")
    with pytest.raises(CheckpointError, match="expected the folder that"):
        find_weights(deepspeed(inner, latest))


def test_parted_and_distributed_checkpoints_say_what_makes_one_file(tmp_path: Path) -> None:
    parted = touch(tmp_path / "parted", "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt")
    with pytest.raises(CheckpointError, match=r"zero_to_fp32\.py"):
        find_weights(parted)
    whole = touch(parted, "mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt")
    with pytest.raises(CheckpointError, match="expected one checkpoint in"):  # no longer parted: several files
        find_weights(whole)
    with pytest.raises(CheckpointError, match="dcp_to_torch"):
        find_weights(touch(tmp_path / "distributed", ".metadata", "__0_0.distcp"))


def test_folders_below_are_named_eight_at_most(tmp_path: Path) -> None:
    for n in range(9):
        (tmp_path / f"checkpoint-{n}").mkdir()
    with pytest.raises(CheckpointError, match=r"it has the folders checkpoint-0, .*checkpoint-7: name one"):
        find_weights(tmp_path)


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff\xfe", b'{"a": 1, "a": 2}'])
def test_json_that_is_no_object_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="expected a JSON object in"):
        read_json(path)


def test_json_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(path) == {"a": 1}
