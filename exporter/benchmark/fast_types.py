"""Element types that a processor multiplies fast, from its flags: what has instructions of its own beside float32's.

Source: Linux, arch/x86/include/asm/cpufeatures.h and Documentation/arch/arm64/elf_hwcaps.rst (the flags' names).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

INSTRUCTIONS: Mapping[str, Mapping[str, str]] = {
    "bfloat16": {"amx_bf16": "AMX", "avx512_bf16": "AVX512_BF16", "bf16": "BF16"},
    "float16": {"amx_fp16": "AMX", "avx512_fp16": "AVX512_FP16", "fphp": "FP16", "asimdhp": "FP16"},
    "int8": {
        "amx_int8": "AMX",
        "avx512_vnni": "VNNI",
        "avx_vnni": "VNNI",
        "asimddp": "dot products",
        "i8mm": "I8MM",
    },
}
"""Type -> flag -> what the instructions are called."""


def fast_types(flags: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Types with instructions of their own, and what these are called; empty where the flags tell none.

    Given    avx2, avx512_bf16, avx_vnni, avx512_vnni
    Result   bfloat16: AVX512_BF16; int8: VNNI
    """
    known = set(flags)
    names = {
        kind: tuple(dict.fromkeys(name for flag, name in by_flag.items() if flag in known))
        for kind, by_flag in INSTRUCTIONS.items()
    }
    return {kind: found for kind, found in names.items() if found}


def sentence(flags: Iterable[str]) -> str:
    """The same in words: "multiplies bfloat16 (AMX) and int8 (AMX, VNNI) faster than float32"; "" without flags."""
    given = tuple(flags)
    if not given:
        return ""
    found = [f"{kind} ({', '.join(names)})" for kind, names in fast_types(given).items()]
    if not found:
        return "multiplies no type faster than float32"
    listed = " and ".join(filter(None, (", ".join(found[:-1]), found[-1])))
    return f"multiplies {listed} faster than float32"
