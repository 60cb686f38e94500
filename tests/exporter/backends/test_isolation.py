"""An environment of its own is whole or not there, says what it takes, and runs a script that knows nothing of us."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from slide_export import api
from slide_export.backends import isolation, optional, registry
from slide_export.backends.interface import IsolatedEnvironment
from slide_export.cli import main as cli
from slide_export.core import telemetry
from slide_export.core.errors import BackendUnavailable, LoweringError, RequestError

TARGET = "litert"
ECHO = """
import json, os, sys
job = json.load(open(sys.argv[1]))
if job.get("refuse"):
    sys.exit("a line of noise\\nrefused: expected a smaller job, found this one")
if job.get("crash"):
    os.kill(os.getpid(), 11)
found = {"job": job, "path": sys.path, "home": os.environ["HOME"], "variables": dict(os.environ)}
try:
    import slide_export
    found["ours"] = True
except ImportError:
    found["ours"] = False
import yaml
found["borrowed"] = yaml.__file__
json.dump(found, open(sys.argv[2], "w"))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> IsolatedEnvironment:
    """Nothing of its own, and PyYAML of ours: no network."""
    lock = tmp_path_factory.mktemp("lock") / "lock.txt"
    lock.write_text("# nothing\n")
    return IsolatedEnvironment(lock, ("PyYAML",), download_mib=1536, installed_mib=2048, why="a test asks for it")


@pytest.fixture(scope="module")
def backend(environment: IsolatedEnvironment) -> Iterator[ModuleType]:
    """The target, with that environment in the place of its own, and an empty cache."""
    found = registry.load(TARGET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(found, "ENVIRONMENT", environment)
        patch.setattr(found, "DISTRIBUTIONS", ("numpy",))
        yield found  # type: ignore[misc]  # a backend is a module


@pytest.fixture(scope="module")
def place(environment: IsolatedEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield isolation.install(TARGET, environment)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "echo.py"
    path.write_text(ECHO)
    return path


def test_a_script_gets_a_job_an_empty_home_and_no_package_of_ours_but_what_is_borrowed(
    place: Path, script: Path
) -> None:
    found = isolation.run(place, script, {"number": 3}, {"OWN": "yes"})
    assert found["job"] == {"number": 3}
    assert not found["ours"]
    assert Path(found["borrowed"]).is_relative_to(place)
    assert found["home"] != os.environ.get("HOME")
    assert not Path(found["home"]).exists()  # gone with the job
    assert found["variables"]["OWN"] == "yes"
    assert telemetry.VARIABLES.items() <= found["variables"].items()


def test_what_a_script_refuses_is_our_sentence_and_a_crash_is_told(place: Path, script: Path) -> None:
    with pytest.raises(LoweringError, match=r"^expected a smaller job, found this one$"):
        isolation.run(place, script, {"refuse": True})
    with pytest.raises(LoweringError, match="it ended with signal 11"):
        isolation.run(place, script, {"crash": True})


def test_it_is_found_again_and_is_another_with_another_lock(
    place: Path, environment: IsolatedEnvironment, tmp_path: Path
) -> None:
    assert isolation.installed(TARGET, environment) == place
    assert isolation.install(TARGET, environment) == place
    (tmp_path / "lock.txt").write_text("# something else\n")
    other = replace(environment, lock=tmp_path / "lock.txt")
    assert isolation.installed(TARGET, other) is None
    with pytest.raises(BackendUnavailable, match="slide-export targets install litert"):
        isolation.require(TARGET, other)
    (kept,) = isolation.kept({TARGET: other})
    assert not kept.current
    (kept,) = isolation.kept({TARGET: environment})
    assert kept.current
    assert kept.path == place
    assert kept.bytes == sum(f.lstat().st_size for f in place.rglob("*") if f.is_file() and not f.is_symlink()) + sum(
        f.lstat().st_size for f in place.rglob("*") if f.is_symlink() and not f.resolve().is_dir()
    )


def test_one_without_its_record_or_with_a_link_to_nowhere_is_not_taken_for_whole(
    place: Path, environment: IsolatedEnvironment
) -> None:
    record = place / isolation.RECORD
    text = record.read_text()
    record.unlink()
    assert isolation.installed(TARGET, environment) is None
    record.write_text(text)
    (link,) = [link for link in isolation._links(place, environment) if link.name == "yaml"]
    source = link.readlink()
    link.unlink()
    link.symlink_to("/nowhere/yaml")
    assert isolation.installed(TARGET, environment) is None
    link.unlink()
    link.symlink_to(source)
    assert isolation.installed(TARGET, environment) == place


def test_a_killed_install_leaves_nothing_that_is_taken_for_done(
    environment: IsolatedEnvironment, tmp_path: Path
) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom slide_export.backends import isolation\n"
        "from slide_export.backends.interface import IsolatedEnvironment\n"
        "build = isolation._build\n"
        "def slow(*arguments):\n    build(*arguments)\n    print('built', flush=True)\n    time.sleep(60)\n"
        "isolation._build = slow\n"
        f"isolation.install('litert', IsolatedEnvironment(Path({str(environment.lock)!r}), ('PyYAML',), 1, 1, ''))\n"
    )
    variables = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "built\n"
        process.send_signal(signal.SIGKILL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert isolation.installed(TARGET, environment) is None
        assert isolation.kept() == ()
        assert [path.name[:14] for path in isolation.root().iterdir()] == [".slide-export-"]
        assert isolation.install(TARGET, environment).is_dir()
        assert len(list(isolation.root().iterdir())) == 1  # what the killed one had left is gone


def test_a_script_ends_with_the_process_that_asked(place: Path, tmp_path: Path) -> None:
    script = tmp_path / "wait.py"
    script.write_text(
        f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
    )
    code = (
        "from pathlib import Path\nfrom slide_export.backends import isolation\n"
        f"isolation.run(Path({str(place)!r}), Path({str(script)!r}), {{}})\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        deadline = time.monotonic() + 60
        while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
    child = int((tmp_path / "pid").read_text())
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_pip_is_looked_for_where_no_hook_of_imports_is_asked(
    environment: IsolatedEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Setuptools has such a hook, which warns of a distutils that is imported already."""

    class Hook:
        def find_spec(self, name: str, *_: object) -> None:
            assert name != "pip"

    class Built(Exception):
        pass

    def build(*_: object) -> None:
        raise Built

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(isolation, "_build", build)
    monkeypatch.setattr(sys, "meta_path", [Hook(), *sys.meta_path])
    with pytest.raises(Built):
        isolation.install(TARGET, environment)
    monkeypatch.setattr(isolation.PathFinder, "find_spec", lambda _name: None)
    with pytest.raises(BackendUnavailable, match=r"expected pip in this Python to install what .* python -m ensurepip"):
        isolation.install(TARGET, environment)


def test_a_lock_that_pip_cannot_install_is_refused_with_its_words(
    environment: IsolatedEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "lock.txt").write_text(f"{tmp_path}/no-such-wheel-1.0-py3-none-any.whl\n")
    with pytest.raises(BackendUnavailable, match=r"expected pip to install what litert is converted with.*ERROR"):
        isolation.install(TARGET, replace(environment, lock=tmp_path / "lock.txt"))
    assert list(isolation.root().iterdir()) == []


def test_a_target_without_one_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match="expected a target with an environment of its own, found onnx"):
        api.install_target("onnx")
    with pytest.raises(RequestError, match="found openvino, which needs none"):
        api.uninstall_target("openvino")


def test_the_command_asks_installs_lists_and_removes(
    backend: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert not registry.availability(TARGET).ready
    assert registry.availability(TARGET).install == "slide-export targets install litert"
    assert cli.run(["targets", "install", TARGET]) == 2  # nobody can answer
    said = " ".join(capfd.readouterr().err.split())
    assert "1.5 GiB to download and 2.0 GiB in" in said
    assert "--yes" in said
    assert not isolation.root().exists()
    assert cli.run(["targets", "install", TARGET, "--yes"]) == 0
    place = Path(capfd.readouterr().out.strip())
    assert place.parent == isolation.root()
    assert registry.availability(TARGET).ready
    assert cli.run(["doctor", "--json"]) == 0
    told = {one["target"]: one for one in json.loads(capfd.readouterr().out)}
    (kept,) = told[TARGET]["environments"]
    assert kept == {"target": TARGET, "path": str(place), "bytes": isolation.kept()[0].bytes, "current": True}
    assert told["onnx"]["environments"] == []
    assert cli.run(["targets", "uninstall", TARGET]) == 0
    assert f"removed {place}" in capfd.readouterr().out
    assert list(isolation.root().iterdir()) == []
    assert not registry.availability(TARGET).ready
    assert cli.run(["targets", "install"]) == 2
    assert "expected a target to install" in capfd.readouterr().err


def test_an_export_without_it_is_refused_and_a_session_is_not(
    backend: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    registry.require(TARGET, "fp32")
    with pytest.raises(BackendUnavailable, match=r"converted in, found it not installed: slide-export targets install"):
        registry.require_export(TARGET, "fp32")


def test_a_fixed_batch_is_asked_for_by_name() -> None:
    litert = registry.load(TARGET)
    optional.refuse_batch(litert, 1)
    optional.refuse_batch(registry.load("onnx"), None)
    with pytest.raises(RequestError, match="litert takes one fixed batch size, 1 to 4096, found a dynamic batch"):
        optional.refuse_batch(litert, None)
