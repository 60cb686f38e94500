"""A library is built from our source, and loaded where this user built it or names it."""

from pathlib import Path

import pytest

from slide_export.core.errors import BackendUnavailable, BundleError, LoweringError
from slide_export.native import LIBRARY, SOURCE, library
from tests.native import needs_a_compiler

NO_RUNTIME = library.Runtime("SLIDE_NO_RUNTIME", (), (), "none")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(library.VARIABLE, raising=False)
    return tmp_path


@needs_a_compiler
def test_what_was_built_here_is_trusted_and_one_byte_more_is_not(room: Path) -> None:
    built = library.build(NO_RUNTIME)
    told = library.put_beside(built, room)
    assert (told.library, told.source) == (LIBRARY, SOURCE)
    assert "-O3" in told.command
    assert str(room) not in told.command
    assert library.beside(room / "model.xml") == (room / LIBRARY).resolve()
    with (room / LIBRARY).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match=library.VARIABLE):
        library.beside(room / "model.xml")


@needs_a_compiler
def test_it_is_built_once_and_twice_the_same(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = library.build(NO_RUNTIME)
    content, when = first.path.read_bytes(), first.path.stat().st_mtime_ns
    assert library.build(NO_RUNTIME).path.stat().st_mtime_ns == when
    monkeypatch.setenv("XDG_CACHE_HOME", str(room / "another"))
    assert library.build(NO_RUNTIME).path.read_bytes() == content
    assert str(Path(library.__file__).parent).encode() not in content  # no path of this machine


def test_anothers_library_is_refused_until_the_user_names_it(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (room / LIBRARY).write_bytes(b"another's")
    with pytest.raises(BundleError, match="runs its code") as refused:
        library.refuse_untrusted(room / LIBRARY)
    named = str(refused.value).partition(f"{library.VARIABLE}=")[2].split()[0]
    monkeypatch.setenv(library.VARIABLE, named)
    library.refuse_untrusted(room / LIBRARY)


def test_a_library_that_is_not_there_is_one_sentence(room: Path) -> None:
    with pytest.raises(BundleError, match="copy the bundle whole"):
        library.beside(room / "model.xml")


def test_without_a_compiler_it_is_one_sentence(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(room))
    monkeypatch.delenv(library.COMPILER, raising=False)
    with pytest.raises(BackendUnavailable, match=r"expected a C\+\+ compiler .* install GCC 12 or Clang"):
        library.build(NO_RUNTIME)
    monkeypatch.setenv(library.COMPILER, "nothing++")
    with pytest.raises(BackendUnavailable, match=r"'nothing\+\+' of the variable CXX"):
        library.build(NO_RUNTIME)


@needs_a_compiler
def test_what_the_compiler_says_is_told(room: Path) -> None:
    with pytest.raises(LoweringError, match=r"onnxruntime_c_api\.h"):
        library.build(library.Runtime("SLIDE_ONNXRUNTIME", (), (), "no headers"))


def test_headers_that_are_not_there_are_one_sentence(room: Path) -> None:
    for folder, found in ((None, "no folder named"), (room, f"none in {room}")):
        with pytest.raises(BackendUnavailable, match=rf"expected x\.h .* found {found}: get it, or take another form"):
            library.headers(folder, "x.h", "get it")
