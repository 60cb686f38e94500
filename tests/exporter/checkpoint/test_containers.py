"""Every container: what a file or a folder is told to be, the weights in it, and what is no checkpoint."""

import hashlib
import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from slide_export.checkpoint.containers import digest, read_checkpoint
from slide_export.core.errors import CheckpointError
from slide_export.core.files import sha256_of

STATE = {
    "patch_embed.proj.weight": torch.arange(12.0).reshape(3, 4),
    "layers.0.blocks.0.norm1.weight": torch.arange(5.0),
    "head.weight": torch.tensor([[1.5, -2.0]]),
    "norm.bias": torch.tensor(0.5),
}


def saved(content: Any, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def values(path: Path, **options: Any) -> dict[str, Tensor]:
    return {name: tensor.read() for name, tensor in read_checkpoint(path, **options).tensors.items()}


def is_state(found: dict[str, Tensor]) -> bool:
    return found.keys() == STATE.keys() and all(torch.equal(found[key], value) for key, value in STATE.items())


@pytest.mark.parametrize("ending", [".pt", ".pth", ".ckpt", ".bin", ".tar", ".pth.tar", ".pyth", ""])
def test_any_ending_is_read(ending: str, tmp_path: Path) -> None:
    assert is_state(values(saved(STATE, tmp_path / f"model{ending}")))


@pytest.mark.parametrize("ending", [".safetensors", ".SAFETENSORS", ".bin", ".pth", ""])
def test_safetensors_are_told_by_their_content(ending: str, tmp_path: Path) -> None:
    save_file(STATE, tmp_path / f"blob{ending}", metadata={"format": "pt"})
    contents = read_checkpoint(tmp_path / f"blob{ending}")
    assert contents.container == "safetensors file"
    assert is_state({name: tensor.read() for name, tensor in contents.tensors.items()})


def test_the_format_before_zip_is_read(tmp_path: Path) -> None:
    assert is_state(values(saved(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)))


def shards(folder: Path, ending: str) -> Path:
    folder.mkdir()
    stem = "model" if ending == "safetensors" else "pytorch_model"
    index = {}
    for number, name in enumerate(STATE, start=1):
        file = f"{stem}-{number:05d}-of-{len(STATE):05d}.{ending}"
        save = save_file if ending == "safetensors" else torch.save
        save({name: STATE[name]}, folder / file)
        index[name] = file
    path = folder / f"{stem}.{ending}.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return path


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_shards_are_read_by_their_index_or_folder(ending: str, tmp_path: Path) -> None:
    index = shards(tmp_path / "model", ending)
    (tmp_path / "model" / "config.json").write_text('{"model_type": "swin"}')
    for path in (index, index.parent):
        assert is_state(values(path))
    contents = read_checkpoint(index.parent)
    assert contents.container.endswith("folder of shards (4)")
    assert contents.config == {"model_type": "swin"}
    listing = "".join(sorted(f"{sha256_of(file)}  {file.name}\n" for file in contents.files))  # as sha256sum prints it
    assert digest(contents.files) == hashlib.sha256(listing.encode()).hexdigest()


def test_shards_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    index = shards(tmp_path / "model", "safetensors")
    first = index.parent / "model-00001-of-00004.safetensors"
    with pytest.raises(CheckpointError, match=r"is shard 1 of 4: give the folder .*/model"):
        read_checkpoint(first)
    first.unlink()
    with pytest.raises(CheckpointError, match=r"1 are missing: model-00001-of-00004"):
        read_checkpoint(index.parent)
    index.write_text(json.dumps({"weight_map": {"head.weight": "../../etc/passwd"}}))
    with pytest.raises(CheckpointError, match="expected shards beside"):
        read_checkpoint(index)
    index.unlink()
    with pytest.raises(CheckpointError, match="expected the index of the shards"):
        read_checkpoint(tmp_path / "model")


def test_a_folder_of_a_hub_tells_its_configurations(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "model.safetensors")
    saved(STATE, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text('{"architecture": "swin"}')
    (tmp_path / "preprocessor_config.json").write_text('{"resample": 3}')
    for path in (tmp_path, tmp_path / "model.safetensors"):
        contents = read_checkpoint(path)
        assert (contents.config, contents.preprocessor) == ({"architecture": "swin"}, {"resample": 3})
        assert any("config.json" in note for note in contents.notes)
    assert any("not from pytorch_model.bin" in note for note in read_checkpoint(tmp_path).notes)
    other = tmp_path / "mine.pth"  # of another name, beside which a config.json may be anybody's
    assert read_checkpoint(saved(STATE, other)).config == {}


def test_the_cache_of_the_hub_is_a_folder_of_snapshots(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--timm--swin" / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    save_file(STATE, snapshot / "model.safetensors")
    assert is_state(values(tmp_path / "models--timm--swin"))


def test_folders_of_trainers(tmp_path: Path) -> None:
    accelerate = tmp_path / "accelerate"
    accelerate.mkdir()
    save_file(STATE, accelerate / "model.safetensors")
    for name in ("optimizer.bin", "scheduler.bin"):
        saved({"state": {}}, accelerate / name)
    assert is_state(values(accelerate))
    deepspeed = tmp_path / "deepspeed"
    (deepspeed / "global_step5").mkdir(parents=True)
    (deepspeed / "latest").write_text("global_step5")
    saved({"module": STATE, "optimizer": None}, deepspeed / "global_step5" / "mp_rank_00_model_states.pt")
    assert is_state(values(deepspeed))
    assert read_checkpoint(deepspeed).container == "PyTorch DeepSpeed folder"
    saved({"module": {}}, deepspeed / "global_step5" / "zero_pp_rank_0_mp_rank_00_model_states.pt")
    with pytest.raises(CheckpointError, match=r"run its zero_to_fp32\.py"):
        read_checkpoint(deepspeed)
    one = tmp_path / "run"
    one.mkdir()
    saved(STATE, one / "best.ckpt")
    assert is_state(values(one))
    saved(STATE, one / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"expected one checkpoint in .*found best\.ckpt, last\.ckpt: name one"):
        read_checkpoint(one)
    trainer = tmp_path / "trainer"
    (trainer / "checkpoint-500").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"it has the folders checkpoint-500: name one"):
        read_checkpoint(trainer)


@pytest.mark.parametrize("name", ["tf_model.h5", "flax_model.msgpack", "model.onnx"])
def test_weights_of_another_framework_are_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=f"found {name}, of another framework"):
        read_checkpoint(tmp_path)
    torch.save(STATE, tmp_path / "model.pth")
    assert read_checkpoint(tmp_path).files == (tmp_path / "model.pth",)


def test_adapters_are_refused_by_what_they_are(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "adapter_model.safetensors")
    for path in (tmp_path, tmp_path / "adapter_model.safetensors"):
        with pytest.raises(CheckpointError, match="adapter weights"):
            read_checkpoint(path)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("timm/swin_tiny_patch4_window7_224.ms_in1k", r"`hf download timm/swin_tiny"),
        ("hf-hub:timm/swin_tiny", r"nothing is downloaded here; .*`hf download timm/swin_tiny`"),
        (
            "https://download.pytorch.org/models/swin_t.pth",
            r"`curl -LO https://download\.pytorch\.org/models/swin_t\.pth`",
        ),
        ("https://huggingface.co/a/b/resolve/main/model.bin", "`hf download a/b model.bin`"),
        ("facebook/pvt_v2_b0@main", "`hf download facebook/pvt_v2_b0 --revision main"),
        ("torchvision://swin_t", "the address torchvision://swin_t: nothing is downloaded here"),
        ("file:///data/swin.pth", "give the path, /data/swin.pth"),
        ("nowhere.pth", "found none at"),
    ],
)
def test_what_is_elsewhere_is_not_downloaded(
    address: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=sentence):
        read_checkpoint(Path(address))


class Program(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


def torchscript(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:  # what torch.jit.save writes, without the deprecated compiler
        for name in ("data.pkl", "code/__torch__.py", "constants.pkl", "version"):
            archive.writestr(f"model/{name}", b"\x80\x02.")


def exported(path: Path) -> None:
    torch.export.save(torch.export.export(Program(), (torch.zeros(2),)), path)


def archive(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("run/model.pth")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))


def oldest(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        for name in ("storages", "tensors", "pickle"):
            tar.addfile(tarfile.TarInfo(name))


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("run/model.pth", b"abc")


OTHER: dict[str, tuple[Any, str]] = {
    "script.pt": (torchscript, "a TorchScript program, not a checkpoint"),
    "program.pt2": (exported, r"a program of torch\.export, not a checkpoint"),
    "run.tar": (archive, r"a tar archive of run/model\.pth: unpack it"),
    "run.zip": (zipped, r"a ZIP archive of run/model\.pth: unpack it"),
    "pointer.pth": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "page.pth": (b"<!DOCTYPE html><html></html>", "a web page"),
    "keras.h5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "an HDF5 file"),
    "llama.gguf": (b"GGUF" + bytes(64), "quantized weights"),
    "packed.pth.gz": (b"\x1f\x8b" + bytes(64), "compressed by gzip"),
    "picture.pth": (b"\x89PNG\r\n\x1a\n" + bytes(64), "a PNG image"),
    "shouted.pth": (b"\n<HTML lang=en>", "a web page"),
    "empty.pth": (b"", "is empty: it was not written"),
    "config.pth": (b'{"a": 1}', "JSON, no weights"),
    "words.pth": (b"hello, world\n" * 9, "is text, no checkpoint"),
    "openvino.pth": (b'<?xml version="1.0"?><net name="x">', "an XML file, as OpenVINO writes"),
    "model.onnx.pth": (b"\x08\x0a\x12\x07pytorch\x1a\x052.13\x3a\x10", "an ONNX model, which is already exported"),
    "phone.pth": (bytes(4) + b"TFL3" + bytes(64), "a TFLite model"),
    "cut.bin": ((9000).to_bytes(8, "little") + b'{"head.weight":{"dtype":"F32"', "a safetensors file that was cut off"),
    "plain.pkl": (pickle.dumps({"a": 1}, protocol=2), "a pickle that torch.save did not write"),
    "oldest.pth.tar": (oldest, r"PyTorch's oldest format \(tar, before 2017\)"),
}


@pytest.mark.filterwarnings("ignore")  # torch.export's own, of its dependencies
@pytest.mark.parametrize("name", OTHER)
def test_what_is_no_checkpoint_is_named(name: str, tmp_path: Path) -> None:
    made, sentence = OTHER[name]
    path = tmp_path / name
    if callable(made):
        made(path)
    else:
        path.write_bytes(made)
    with pytest.raises(CheckpointError, match=sentence):
        read_checkpoint(path)


@pytest.mark.parametrize("fault", ["cut", "flipped", "words", "random"])
def test_damage_is_one_sentence(fault: str, tmp_path: Path) -> None:
    old = saved(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False).read_bytes()
    numbers = torch.randint(0, 256, (500,), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    content = {
        "cut": old[: len(old) // 2],
        "flipped": old.replace(b"storage", b"stxrage"),
        "words": b"root:x:0:0:root:/root:/bin/bash\n" * 20,
        "random": numbers.numpy().tobytes(),
    }[fault]
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="expected a PyTorch checkpoint"):
        read_checkpoint(tmp_path / "bad.pth")


def test_another_pickle_protocol_says_how_to_save_it_again(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="pickle protocol 2"):
        read_checkpoint(saved(STATE, tmp_path / "four.pth", pickle_protocol=4))
