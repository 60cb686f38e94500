"""The plan is one, units and snippets parse, and every command in them is one that the command line takes."""

import ast
import configparser
import plistlib
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from slide_export.cli.main import cli
from slide_export.fleet.certificates import AUTHORITY
from slide_export.fleet.plan import read
from tests.deploy_examples.conftest import EXAMPLES

FLEET = EXAMPLES / "11_fleet"
UNITS = sorted(FLEET.glob("*.service"))
PAIR = {AUTHORITY, "scheduler.pem", "scheduler.key"}


def accepted(words: list[str]) -> str:
    """The command that the command line takes these words for; click raises on any that it does not know."""
    program, verb, *rest = words
    assert Path(program).name == "slide-export"
    group = cli.commands[verb]
    assert isinstance(group, click.Group)
    name, *arguments = rest
    return str(group.commands[name].make_context(name, arguments).info_name)


def test_the_plan_is_one_and_its_files_are_there() -> None:
    _, plan = read(FLEET / "plan.yaml")
    assert (plan.targets, plan.precisions) == (("onnx", "openvino"), ("fp32", "fp16", "int8"))
    assert plan.evaluate is not None
    for place in (plan.checkpoints[0].path, plan.images, plan.evaluate.images):
        assert (FLEET / str(place)).exists()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_again_and_its_command_is_known(unit: Path) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names of systemd have capitals
    parser.read_string(unit.read_text())
    assert parser["Service"]["Restart"] == "always"  # workers of dask end with their scheduler
    assert parser["Install"]["WantedBy"] == "multi-user.target"
    words = shlex.split(parser["Service"]["ExecStart"])
    if "worker" in unit.stem:
        assert accepted(words) == "worker"
    else:
        assert [Path(words[0]).name, words[1], words[2:4]] == ["dask", "scheduler", ["--protocol", "tls"]]
        assert {Path(word).name for word in words if word.startswith("/etc")} == PAIR


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze, of the package systemd")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_knows_every_name_in_a_unit(unit: Path, tmp_path: Path) -> None:
    local = tmp_path / unit.name  # with a program that is there: its absence is no fault of the unit
    local.write_text("\n".join(_with_true(line) for line in unit.read_text().splitlines()))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", local], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if "Unknown" in line] == []


def _with_true(line: str) -> str:
    return "ExecStart=/bin/true" if line.startswith("ExecStart=") else "" if line.startswith("User=") else line


def test_the_agent_of_launchd_is_kept_alive() -> None:
    agent = plistlib.loads((FLEET / "org.slide-export.worker.plist").read_bytes())
    assert (agent["KeepAlive"], agent["RunAtLoad"]) == (True, True)
    assert agent["Label"] == "org.slide-export.worker"
    assert accepted(agent["ProgramArguments"]) == "worker"


def test_the_snippet_for_slurm_offers_what_jobs_ask_for() -> None:
    tree = ast.parse((FLEET / "slurm.py").read_text())
    values: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and not isinstance(node.value, ast.Call):
            code = compile(ast.Module([node], []), "slurm.py", "exec")
            exec(code, {}, values) if not values else exec(code, values, values)
    assert {"slot", "memory_gib"} <= set(values["OFFERED"])
    assert any(name.startswith("target:") for name in values["OFFERED"])
    (made,) = [
        one for one in ast.walk(tree) if isinstance(one, ast.Call) and getattr(one.func, "id", "") == "SLURMCluster"
    ]
    named = {one.arg: one.value for one in made.keywords}
    assert ast.literal_eval(named["protocol"]) == "tls://"
    assert "security" in named


def test_the_cluster_of_kubernetes_has_certificates_and_known_commands() -> None:
    content = yaml.safe_load((FLEET / "kubernetes.yaml").read_text())
    assert (content["apiVersion"], content["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    (worker,) = content["spec"]["worker"]["spec"]["containers"]
    assert accepted(worker["command"]) == "worker"
    (scheduler,) = content["spec"]["scheduler"]["spec"]["containers"]
    assert scheduler["command"][:4] == ["dask", "scheduler", "--protocol", "tls"]
    assert {Path(word).name for word in scheduler["command"] if word.startswith("/tls")} == PAIR
    for container in (worker, scheduler):
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tls"]


def test_no_credential_stands_in_an_example() -> None:
    for path in FLEET.iterdir():
        if path.is_file():
            text = path.read_text().lower()
            assert not [word for word in ("password", "secret_access_key=", "begin private key") if word in text], path
