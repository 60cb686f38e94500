"""The operator's library: built from our source by the user's compiler, and trusted where this user built it.

A library is code. `slide_attention.so` of a bundle is loaded where its bytes are those of one that this user has built,
which is remembered in `~/.cache/slide-export/native`, or where the user names its sha256 in a variable; nothing that
came with a bundle decides it. The source, the compiler and the flags being the same, so are the bytes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slide_export.core import cache, files
from slide_export.core.artifact import NativeLibrary
from slide_export.core.errors import BackendUnavailable, BundleError, LoweringError, TimeLimitError
from slide_export.core.graph import OnnxGraph
from slide_export.core.text import foreign

from . import LIBRARY, SOURCE
from .schema import used_in

VARIABLE = "SLIDE_EXPORT_TRUSTED_LIBRARY"
COMPILER = "CXX"
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-ffp-contract=fast", "-fno-math-errno")
TIMEOUT_S = 600
SAID = 600  # letters of a compiler's message


@dataclass(frozen=True)
class Runtime:
    """What the operator is built against.

    Attributes:
        define: chooses the runtime's part of the source.
        headers: folders of its headers.
        libraries: files that it is linked with.
        version: of those, in words.
    """

    define: str
    headers: tuple[Path, ...]
    libraries: tuple[Path, ...]
    version: str


@dataclass(frozen=True)
class Built:
    """A library as it was built.

    Attributes:
        compiler: what the compiler says of itself.
        command: how it was called, without this machine's paths.
    """

    path: Path
    compiler: str
    command: str


def build(runtime: Runtime) -> Built:
    """The library for a runtime, built now or remembered.

    Raises:
        BackendUnavailable: there is no compiler.
        LoweringError: it refuses the source.
        TimeLimitError: it takes longer than `TIMEOUT_S`.
        WriteError: what was built cannot be kept.
    """
    compiler = _compiler()
    version = _version(compiler)
    source = Path(__file__).with_name(SOURCE)
    define = f"-D{runtime.define}"
    command = " ".join(["c++", *FLAGS, define, SOURCE, *(path.name for path in runtime.libraries)])
    told = "\n".join((version, command, runtime.version, files.sha256_of(source)))
    path = _place() / f"{hashlib.sha256(told.encode()).hexdigest()}.so"
    if not path.is_file():
        files.write(path, _compiled(compiler, define, source, runtime))
    return Built(path, version, command)


def _compiler() -> str:
    asked = os.environ.get(COMPILER, "")
    found = next((path for name in ([asked] if asked else COMPILERS) if (path := shutil.which(name))), None)
    if found is None:
        wanted = f"the compiler {foreign(asked)!r} of the variable {COMPILER}" if asked else "a C++ compiler"
        raise BackendUnavailable(
            f"expected {wanted} to build the operator of form native, found none: install GCC 12 or Clang, or take "
            "another form"
        )
    return found


def _version(compiler: str) -> str:
    return next(iter(_asked([compiler, "--version"]).stdout.splitlines()), "").strip()


def _asked(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise TimeLimitError(f"expected {command[0]} to end within {TIMEOUT_S} s, it has not: try again") from error


def _compiled(compiler: str, define: str, source: Path, runtime: Runtime) -> bytes:
    """The library's bytes; no path of this machine is in them."""
    headers = [part for folder in runtime.headers for part in ("-isystem", str(folder))]
    unnamed = [f"-ffile-prefix-map={folder}=." for folder in (source.parent, *runtime.headers)]
    with tempfile.TemporaryDirectory(prefix="slide-export-native-") as room:
        target = Path(room) / LIBRARY
        command = [compiler, *FLAGS, define, *headers, *unnamed, str(source), "-o", str(target)]
        ended = _asked([*command, *map(str, runtime.libraries)])
        if ended.returncode or not target.is_file():
            raise LoweringError(
                f"expected {compiler} to build the operator of form native, it says: "
                f"{foreign(_first_error(ended.stderr), SAID)}; GCC 12 or Clang is needed, or another form"
            )
        return target.read_bytes()


def _first_error(said: str) -> str:
    lines = said.splitlines()
    return next((line for line in lines if "error" in line), lines[0] if lines else "nothing")


def _place() -> Path:
    return cache.place("native")


def refuse_untrusted(library: Path) -> None:
    """Refuse a library that this user has neither built nor named, before it is loaded.

    Raises:
        BundleError: its sha256, and how it can be named.
    """
    if not library.is_file():
        raise BundleError(
            f"expected {library.name} beside the artifact, found none at {library}: copy the bundle whole"
        )
    found = files.sha256_of(library)
    named = os.environ.get(VARIABLE, "").replace(",", " ").split()
    if found not in named and found not in _built():
        raise BundleError(
            f"expected a library that was built here, {library} is another's, and to load it runs its code: export "
            f"again here, or set {VARIABLE}={found} where you trust it"
        )


def _built() -> set[str]:
    """sha256 of every library that this user has built and kept."""
    return {files.sha256_of(path) for path in sorted(_place().glob("*.so"))}


def for_graph(graph: OnnxGraph, directory: Path, runtime: Callable[[], Runtime]) -> NativeLibrary | None:
    """Build the library of a graph into its artifact's directory; None for a graph without the operator.

    Raises:
        BackendUnavailable: what it is built against is not here, or there is no compiler.
        LoweringError: the compiler refuses the source or the headers.
    """
    return put_beside(build(runtime()), directory) if used_in(graph.proto) else None


def refuse_no_compiler() -> None:
    """Refuse a machine that cannot build it, before any work.

    Raises:
        BackendUnavailable: there is no compiler.
    """
    _compiler()


def put_beside(built: Built, directory: Path) -> NativeLibrary:
    """Put the library and its source into an artifact's directory."""
    shutil.copyfile(Path(__file__).with_name(SOURCE), directory / SOURCE)
    shutil.copyfile(built.path, directory / LIBRARY)
    return NativeLibrary(LIBRARY, SOURCE, built.compiler, built.command)


def beside(artifact: Path) -> Path:
    """The library in an artifact's directory, ready to be loaded.

    Raises:
        BundleError: it is not there, or another's.
    """
    library = artifact.resolve().with_name(LIBRARY)
    refuse_untrusted(library)
    return library


def headers(folder: Path | None, needed: str, hint: str) -> Path:
    """A folder that holds a header.

    Raises:
        BackendUnavailable: it does not, or there is none.
    """
    if folder is None or not (folder / needed).is_file():
        where = "no folder named" if folder is None else f"none in {folder}"
        raise BackendUnavailable(
            f"expected {needed} to build the operator of form native, found {where}: {hint}, or take another form"
        )
    return folder
