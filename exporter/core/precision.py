"""The precisions that an artifact may have: what each stores, computes and is allowed to lose.

The command line and manifests say a precision by its name; everything between passes the value.

    name          stores     computes in                 noise floor of the proof
    fp32          float32    float32                     PyTorch in float32, as it is
    fp16          float16    float16                     PyTorch rounded to float16 after every operator
    bf16          bfloat16   bfloat16, where the         PyTorch rounded to bfloat16 after every operator
                             processor has it
    w16           float16    float32                     PyTorch with weights rounded to float16
    int8          int8       int8, ranges calibrated     fake quantization of the PyTorch model
    int8-dynamic  int8       int8, ranges of each        the same, ranges of each input
                             input as it comes
    w8            int8       float32, or a float type    fake quantization of the weights alone
                             that the runtime chooses
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from .errors import RequestError

Floor: TypeAlias = Literal["none", "rounded", "rounded-weights", "fake-quantized"]
"""What the trained model is put through so that its error is the noise floor: nothing (float32), rounding to a 16-bit
float after every operator or of the weights alone, or fake quantization as a recipe says."""

FLOAT_TOLERANCE_FACTOR = 8.0
"""Accepted error over the noise floor. A runtime adds the same terms in another order with other kernels, so its error
is a small multiple of the floor, the same for every model: seen are 0.4 to 1.2 (CoreML, ONNX Runtime) and 1.8 to 3.3
(OpenVINO, whose matrix products add long sums one by one). One weight off by a percent gives dozens to thousands."""

QUANTIZED_TOLERANCE_FACTOR = 4.0
"""The same where the floor is the error of a simulated quantization: both round to grids of the same step."""


# What a precision may cost whatever its noise floor is: a floor as large as the signal would pass anything. Each is
# below what sound models were seen to reach (digits as trained, a small model of every family, 43 variants at full
# size); a float type that does worse than the next smaller one does with them is not worth its bytes.
FP32_LEAST_DB = 60.0
"""Seen: 112 and more. In float16 sound models have 54 to 74, so float32 has to do as well."""
FP16_LEAST_DB = 35.0
"""Seen: 54 and more, 41 where random weights tell no class from another. Weights in 8 bits have 37 to 50."""
BF16_LEAST_DB = 17.0
"""Three bits fewer than float16: 18 dB."""
QUANTIZED_LEAST_DB = 0.0
"""Under every recipe, of which ours ask for 20 or 30: noise as large as the signal is no model, whatever one says."""
SURE_MARGIN = 1.0
"""Spreads of the scores: a hundred times what float16 was seen to move one, a third of the digits' median margin."""
QUANTIZED_SURE_MARGIN = 2.0
"""At 20 dB the noise of a score is a tenth of the spread, but on one image it may be several times as much."""


@dataclass(frozen=True)
class Precision:
    """One precision of an artifact.

    Attributes:
        name: on the command line and in manifests.
        stored: element type of the weights.
        computed: element type of convolutions and matrix products; where weights are expanded before use, the float
            type that a runtime expands them to unless it prefers another.
        floor: what gives the proof its noise floor.
        tolerance_factor: accepted error over that floor.
        least_db: least signal to noise of an output against the truth, whatever the floor is; see
            `OutputParity.centred_db`.
        sure_margin: a decision may not change where the trained model prefers it by more than this many spreads of its
            scores, whatever the floor; see `ParityReport.spread`.
        stored_share: least share of weight bytes in the stored type, 0 to 1. In fp16, what softmax and LayerNorm need
            may stay float32; in int8, slide convolutions and what a recipe keeps.
        computed_share: least share of products in the computed type where nothing but the precision decides it.
        calibrated: whether activations' ranges are observed on images before the export.
        rounding: relative error of one rounding to the computed type; None where the type has no fixed one.
        needs_hardware: whether only some processors compute in it, and others silently in another type: what was
            executed is judged, whoever chose it.
    """

    name: str
    stored: str
    computed: str
    floor: Floor
    tolerance_factor: float
    least_db: float
    sure_margin: float
    stored_share: float
    computed_share: float = 0.0
    calibrated: bool = False
    rounding: float | None = None
    needs_hardware: bool = False

    @property
    def quantized(self) -> bool:
        """Whether a quantization recipe says how its weights are stored."""
        return self.floor == "fake-quantized"

    @property
    def computes_integers(self) -> bool:
        """Whether convolutions and matrix products are to be 8-bit too."""
        return self.computed == "int8"

    @property
    def weights_alone(self) -> bool:
        """Whether weights are stored in another type than products compute in."""
        return self.computed != self.stored

    def __str__(self) -> str:
        return self.name


FP32 = Precision(
    "fp32",
    "float32",
    "float32",
    "none",
    FLOAT_TOLERANCE_FACTOR,
    FP32_LEAST_DB,
    SURE_MARGIN,
    stored_share=1.0,
    computed_share=1.0,
    rounding=2.0**-24,
)
FP16 = Precision(
    "fp16",
    "float16",
    "float16",
    "rounded",
    FLOAT_TOLERANCE_FACTOR,
    FP16_LEAST_DB,
    SURE_MARGIN,
    stored_share=0.95,
    computed_share=0.95,
    rounding=2.0**-11,
)
INT8 = Precision(
    "int8",
    "int8",
    "int8",
    "fake-quantized",
    QUANTIZED_TOLERANCE_FACTOR,
    QUANTIZED_LEAST_DB,
    QUANTIZED_SURE_MARGIN,
    stored_share=0.5,
    calibrated=True,
)
W8 = replace(INT8, name="w8", computed="float32", calibrated=False)
BF16 = Precision(
    "bf16",
    "bfloat16",
    "bfloat16",
    "rounded",
    FLOAT_TOLERANCE_FACTOR,
    BF16_LEAST_DB,
    SURE_MARGIN,
    stored_share=0.95,
    computed_share=0.95,
    rounding=2.0**-8,
    needs_hardware=True,
)
W16 = Precision(
    "w16",
    "float16",
    "float32",
    "rounded-weights",
    FLOAT_TOLERANCE_FACTOR,
    FP16_LEAST_DB,
    SURE_MARGIN,
    stored_share=0.95,
)
INT8_DYNAMIC = replace(INT8, name="int8-dynamic", calibrated=False)

PRECISIONS: Mapping[str, Precision] = {
    precision.name: precision for precision in (FP32, W16, FP16, BF16, INT8, INT8_DYNAMIC, W8)
}
"""Every precision by name, in the order in which one is preferred where size and speed do not decide."""


def precision_named(name: str) -> Precision:
    """The precision of a name.

    Raises:
        RequestError: no precision has the name.
    """
    found = PRECISIONS.get(name)
    if found is None:
        raise RequestError(f"expected a precision of {', '.join(PRECISIONS)}; found {name!r}")
    return found
