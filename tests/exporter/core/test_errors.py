"""A message is one printable line, whatever it quotes of a file."""

import pytest

from slide_export.core.errors import HEAD, TAIL, BundleError, RequestError, option


@pytest.mark.parametrize("hostile", ["\x1b[2J\x1b[1;1H\n✓ equal", "\x9b31m", "\u202egpj", "\ud800", "a\r\nb\x07"])
def test_control_characters_are_written_out(hostile: str) -> None:
    error = BundleError(f"expected a bundle, found {hostile}")
    assert str(error).isprintable()
    assert error.on_command_line.isprintable()
    assert str(error).startswith("expected a bundle, found ")


def test_options_are_written_for_whoever_reads_them() -> None:
    error = BundleError(f"add {option('keep_fp32')} …")
    assert (str(error), error.on_command_line) == ("add keep_fp32 …", "add --keep-fp32 …")


@pytest.mark.parametrize(
    ("marked", "python", "flag"),
    [(option("keep_fp32"), "keep_fp32", "--keep-fp32"), (option("values", "model"), "values", "--model")],
)
def test_an_option_is_named_as_its_caller_knows_it(marked: str, python: str, flag: str) -> None:
    error = RequestError(f"expected {marked} heads")
    assert (str(error), error.on_command_line) == (f"expected {python} heads", f"expected {flag} heads")


@pytest.mark.parametrize("letter", ["x", "\U000e0001"])
def test_a_long_message_keeps_what_was_found_and_what_to_do(letter: str) -> None:
    said = str(BundleError(f"expected less, found {letter * 100_000}: export it again"))
    assert said.startswith("expected less, found ")
    assert said.endswith(": export it again")
    assert len(said) <= HEAD + TAIL + 3
    assert str(BundleError("x" * (HEAD + TAIL))) == "x" * (HEAD + TAIL)
