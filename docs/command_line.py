"""The command line as Markdown, from click's own definitions."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from slide_export.cli.main import PROGRAM, cli

ALIASES = ("doctor",)  # a second name of a command is told with the first


def command_line() -> str:
    """A section for each command: usage, help, a table of options."""
    context = click.Context(cli, info_name=PROGRAM)
    names = [name for name in cli.list_commands(context) if name not in ALIASES]
    names.sort(key=list(cli.commands).index)
    return "\n\n".join(_command(name, cli.commands[name], context) for name in names)


def _command(name: str, command: click.Command, parent: click.Context) -> str:
    context = click.Context(command, info_name=name, parent=parent)
    also = [alias for alias in ALIASES if cli.commands[alias] is command]
    called = f" (also `{', '.join(also)}`)" if also else ""
    usage = " ".join([PROGRAM, name, *command.collect_usage_pieces(context)])
    rows = "".join(_rows(command, context))
    table = f"\n| option | what it does | default |\n|---|---|---|\n{rows}" if rows else ""
    help_text = _escaped(inspect.cleandoc(command.help or "").replace("\b\n", ""))
    return f"## {name}{called}\n\n{help_text}\n\n```\n{usage}\n```\n{table}"


def _rows(command: click.Command, context: click.Context) -> Iterator[str]:
    for option in command.get_params(context):
        if not isinstance(option, click.Option) or option.hidden or option.name == "help":
            continue
        metavar = "" if option.is_flag else f" {option.make_metavar(context)}"
        repeat = " Repeatable." if option.multiple and "repeat" not in (option.help or "") else ""
        names = " ".join(f"`{spelling}{metavar}`" for spelling in sorted(option.opts, key=len, reverse=True)[:1])
        short = "".join(f" `{spelling}`" for spelling in sorted(option.opts, key=len)[:-1])
        help_text = _cell(_escaped(option.help or ""))
        yield f"| {names}{short} | {help_text}{repeat} | {_default(option, context)} |\n"


def _default(option: click.Option, context: click.Context) -> str:
    if not option.show_default:
        return ""
    shown = option.show_default if isinstance(option.show_default, str) else option.get_default(context)
    return f"`{shown}`"


def _escaped(text: str) -> str:
    """Text whose brackets and asterisks are no Markdown."""
    return re.sub(r"([\[\]*<>])", r"\\\1", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
