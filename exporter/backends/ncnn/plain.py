"""What a load without options computes, and what has to be set so that it is what was proved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slide_export.core.plain_load import PlainLoad

from .dtypes import computed_in
from .network import weights_of
from .runtime import EXACT

WHY = "ncnn rounds weights and what goes from layer to layer to float16 by default, on every processor"


def plain_load(path: Path, settings: Mapping[str, Any], proved: tuple[str, ...]) -> PlainLoad:
    """By default ncnn rounds to float16 wherever it has a kernel for it, unless told not to before it reads weights.

    Source: Tencent/ncnn 20261020, src/option.cpp: use_fp16_packed, _storage and _arithmetic are true.
    """
    plain = {**settings, "options": {}}
    call = f'net.load_param("{path.name}"); net.load_model("{weights_of(path).name}")'
    options = {f"net.opt.{name}": "false" for name in EXACT if "fp16" in name}
    batch = "it takes one image at a time, without a batch axis"
    return PlainLoad(call, False, options, WHY, (computed_in(plain),), proved, plain, batch=batch)
