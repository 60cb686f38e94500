"""What a processor multiplies fast is read from its flags, and said."""

import pytest

from slide_export.benchmark.fast_types import fast_types, sentence


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("avx2", "fma"), {}),
        (("avx512f", "avx512_vnni"), {"int8": ("VNNI",)}),
        (
            ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx_vnni", "avx512_fp16"),
            {"bfloat16": ("AMX", "AVX512_BF16"), "float16": ("AVX512_FP16",), "int8": ("AMX", "VNNI")},
        ),
        (("asimd", "asimdhp", "fphp", "asimddp"), {"float16": ("FP16",), "int8": ("dot products",)}),
    ],
)
def test_flags_tell_types(flags: tuple[str, ...], expected: dict[str, tuple[str, ...]]) -> None:
    assert fast_types(flags) == expected


def test_it_is_said_in_words_and_not_where_nothing_is_known() -> None:
    assert sentence(()) == ""
    assert sentence(("avx2",)) == "multiplies no type faster than float32"
    assert sentence(("avx512_vnni",)) == "multiplies int8 (VNNI) faster than float32"
    assert sentence(("amx_bf16", "amx_int8")) == "multiplies bfloat16 (AMX) and int8 (AMX) faster than float32"
