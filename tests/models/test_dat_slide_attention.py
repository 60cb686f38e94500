"""DAT++'s slide attention against its definition for every choice of options, fused, lowered and in ONNX Runtime."""

import copy
import io
import itertools
import warnings

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from slide_export.inference.forms import FORMS
from slide_export.models.dat_slide_attention import DatSlideAttention
from slide_export.models.slide_attention import SlideAttention
from tests.conftest import randomise

ROUNDING = 1e-11  # float64: the same terms added in another order
FULL_ROUNDING = 2e-5  # float32, of outputs of order 1
OPTIONS = ("dim_reduction", "position_bias", "share_dwc_kernel", "share_qkv")
CHOICES = list(itertools.product((1, 2), (True, False), (True, False), (True, False)))


def by_definition(attention: DatSlideAttention, x: Tensor, *, shared_kernel: bool, shared_qkv: bool) -> Tensor:
    """The module's result from the formula, one head and one tap at a time, shifts written out."""
    k, d, heads = attention.kernel_size, attention.width, attention.heads
    rows, cols = x.shape[1:3]
    projected = attention.qkv(x)
    out = []
    for head in range(heads):
        if shared_qkv:
            q = key = value = projected[..., head * d : (head + 1) * d]
        else:
            q, key, value = (projected[..., (head * 3 + part) * d :][..., :d] for part in range(3))
        learned = attention.dep_conv1 if shared_kernel else attention.dep_conv2

        def tap(feature: Tensor, o: int, conv: nn.Conv2d) -> Tensor:
            padded = nn.functional.pad(feature, (0, 0, k // 2, k // 2, k // 2, k // 2))
            kernel = (attention.dep_conv.weight + conv.weight).reshape(d, k * k, k * k)[:, o]
            bias = (attention.dep_conv.bias + conv.bias).reshape(d, k * k)[:, o]
            return sum(kernel[:, j] * padded[:, j // k :, j % k :][:, :rows, :cols] for j in range(k * k)) + bias

        table = attention.relative_position_bias_table
        scale = (x.shape[3] // heads) ** -0.5
        logits = []
        for o in range(k * k):
            bias = 0.0 if table is None else table[0, head, 0, o, 0, 0]
            logits.append((q * scale * (tap(key, o, attention.dep_conv1) + bias)).sum(dim=-1))
        weights = torch.stack(logits, dim=-1).softmax(dim=-1)
        out.append(sum(weights[..., o, None] * tap(value, o, learned) for o in range(k * k)))
    return attention.proj(torch.cat(out, dim=-1))


@pytest.fixture(params=CHOICES, ids=str)
def case(request: pytest.FixtureRequest) -> tuple[DatSlideAttention, Tensor, Tensor]:
    options = dict(zip(OPTIONS, request.param, strict=True))
    attention = randomise(DatSlideAttention(16, 2, **options)).double()
    x = torch.randn(2, 4, 5, 16, dtype=torch.float64)
    shared = {"shared_kernel": options["share_dwc_kernel"], "shared_qkv": options["share_qkv"]}
    with torch.inference_mode():
        return attention, x, by_definition(attention, x, **shared)


def test_it_is_the_definition(case: tuple[DatSlideAttention, Tensor, Tensor]) -> None:
    attention, x, expected = case
    with torch.inference_mode():
        assert (attention(x) - expected).abs().max() < ROUNDING


def test_fused_and_every_lowering_are_the_definition(case: tuple[DatSlideAttention, Tensor, Tensor]) -> None:
    attention, x, expected = case
    fused = attention.fuse()
    with torch.inference_mode():
        assert (fused(x) - expected).abs().max() < ROUNDING
        worst = {name: float((form(fused).double().eval()(x) - expected).abs().max()) for name, form in FORMS.items()}
    assert max(worst.values()) < ROUNDING, worst


@pytest.mark.parametrize(
    "wrong", ["dep_conv.weight", "dep_conv1.weight", "dep_conv2.bias", "qkv.weight", "relative_position_bias_table"]
)
def test_one_wrong_weight_fails_this_proof(wrong: str) -> None:
    attention = randomise(DatSlideAttention(16, 2, share_dwc_kernel=False)).double()
    fused, changed, x = attention.fuse(), copy.deepcopy(attention), torch.randn(1, 4, 5, 16, dtype=torch.float64)
    with torch.inference_mode():
        changed.get_parameter(wrong).view(-1)[0] += 1e-3
        assert (fused(x) - changed(x)).abs().max() > ROUNDING * 1e3


def test_without_reduction_the_keys_are_slide_swins() -> None:
    ours = {key: value.shape for key, value in DatSlideAttention(96, 3, dim_reduction=1).state_dict().items()}
    assert ours == {key: value.shape for key, value in SlideAttention(96, 3).state_dict().items()}


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        ({}, {"qkv.weight": (72, 96), "proj.weight": (96, 24), "dep_conv1.weight": (72, 1, 3, 3)}),
        ({"share_dwc_kernel": False}, {"dep_conv2.weight": (72, 1, 3, 3), "dep_conv2.bias": (72,)}),
        ({"share_qkv": True}, {"qkv.weight": (24, 96)}),
    ],
)
def test_shapes_are_upstreams(options: dict[str, bool], shapes: dict[str, tuple[int, ...]]) -> None:
    state = DatSlideAttention(96, 3, **options).state_dict()
    assert {key: tuple(state[key].shape) for key in shapes} == shapes


def test_it_exports_with_any_batch() -> None:
    attention = randomise(DatSlideAttention(16, 2, share_dwc_kernel=False, share_qkv=True))
    lowered, graph = FORMS["taps"](attention.fuse()).eval(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {"x": {0: "batch"}, "y": {0: "batch"}}
        torch.onnx.export(
            lowered,
            (torch.randn(2, 6, 5, 16),),
            graph,
            dynamo=False,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes=axes,
        )
    session = onnxruntime.InferenceSession(graph.getvalue(), providers=["CPUExecutionProvider"])
    x = torch.randn(3, 6, 5, 16)
    with torch.inference_mode():
        assert (torch.from_numpy(session.run(None, {"x": x.numpy()})[0]) - attention(x)).abs().max() < FULL_ROUNDING
