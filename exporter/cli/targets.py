"""The targets: what can be used here, and the environments of their own that some are converted in."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from slide_export import api
from slide_export.core import typed_json

from .options import as_json

if TYPE_CHECKING:
    from slide_export.backends.isolation import KeptEnvironment

ACTIONS = ("install", "uninstall")


@click.command()
@click.argument("action", type=click.Choice(ACTIONS), required=False)
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--yes", is_flag=True, help="Install without a question, as a script does.")
@as_json
def targets(action: str | None, name: str | None, yes: bool, as_json: bool) -> None:
    """Tell which targets can be used here and how to install the rest.

    `install NAME` makes the environment of its own that a target is converted in, where its packages clash with ours;
    `uninstall NAME` removes it. Nothing else is ever downloaded.
    """
    if action is None:
        _tell(as_json)
    elif name is None:
        raise click.UsageError(f"expected a target to {action}, found none: slide-export targets {action} NAME")
    elif action == "install":
        _install(name, yes, as_json)
    else:
        _uninstall(name, as_json)


def _tell(as_json: bool) -> None:
    found, kept = api.targets(), api.environments()
    if as_json:
        of_target = {target.target: [_plain(one) for one in kept if one.target == target.target] for target in found}
        rows = [{**asdict(t), "ready": t.ready, "proves": t.proves, "environments": of_target[t.target]} for t in found]
        click.echo(typed_json.dumps(rows, indent=2))
        return
    from .console import show_targets

    show_targets(found, kept)


def _install(name: str, yes: bool, as_json: bool) -> None:
    from .console import Steps
    from .views.environments import question

    asked = question(name)
    if asked is not None and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"{asked} Nobody can answer here: say so with --yes")
        if not click.confirm(f"{asked} Install?", err=True):
            click.echo("nothing was installed", err=True)
            return
    with Steps() as step:
        place = api.install_target(name, step=step)
    click.echo(typed_json.dumps({"target": name, "path": str(place)}, indent=2) if as_json else place)


def _uninstall(name: str, as_json: bool) -> None:
    removed = api.uninstall_target(name)
    if as_json:
        click.echo(typed_json.dumps([_plain(one) for one in removed], indent=2))
        return
    from .views.environments import sentence

    click.echo("\n".join(f"removed {sentence(one)}" for one in removed) or f"nothing is kept of {name}")


def _plain(kept: KeptEnvironment) -> dict[str, object]:
    """An environment, ready for JSON."""
    return {**asdict(kept), "path": str(kept.path)}
