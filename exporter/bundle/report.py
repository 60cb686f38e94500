"""What a bundle's manifest says, as Markdown for people."""

import json
from collections.abc import Sequence

from slide_export.calibration.report import CalibrationReport
from slide_export.calibration.sensitivity import MixedSearch
from slide_export.core.markdown import code, plain
from slide_export.core.model import BlockCertificate

from .manifest import Manifest
from .records import AccuracyRecord


def markdown(manifest: Manifest) -> str:
    """The text of `report.md`: verdict first, then the numbers behind it."""
    parts = [
        _head(manifest),
        _parity(manifest),
        _accuracy(manifest.accuracy),
        _mixed(manifest.mixed),
        _calibration(manifest.calibration),
        _fusion(manifest.fusion),
        _use(manifest),
        _versions(manifest),
    ]
    return "\n".join(part for part in parts if part)


def _head(manifest: Manifest) -> str:
    model, checkpoint, parity = manifest.model, manifest.checkpoint, manifest.parity
    near, to = ("equal", "to") if parity.accepted.min_sqnr_db is None else ("within quantization noise", "of")
    verdict = (f"**{near}**" if parity.passed else f"**REJECTED: not {near}**") + f" {to} the PyTorch model"
    return f"""# {plain(manifest.name)}: {plain(manifest.target)} {manifest.precision.name}

{plain(model.variant)} at {model.image_size[0]}x{model.image_size[1]}, {model.parameters:,} parameters, form \
{code(manifest.options.form)}: {verdict} on {parity.images} real images ({plain(parity.source)}) at batch \
{", ".join(map(str, parity.batch_sizes))} ({plain(parity.evaluator)}).

From {code(checkpoint.file)} (sha256 `{checkpoint.sha256}`), {checkpoint.weights} weights.
""" + "".join(f"- {plain(note)}\n" for note in checkpoint.notes)


def _parity(manifest: Manifest) -> str:
    parity = manifest.parity
    rows = "".join(
        f"| {plain(o.name)} | {o.max_abs:.2e} | {o.floor_max:.2e} | {o.limit_max:.2e} | {o.rms:.2e} "
        f"| {o.limit_rms:.2e} | {o.mean_abs:.2e} | {o.sqnr_db:.1f} | {o.cosine:.9f} |\n"
        for o in parity.outputs
    )
    top1 = "" if parity.top1 is None else f"\nTop-1 agreement: {parity.top1:.2%}.\n"
    flips = "".join(
        f"- {plain(flip.image)}: class {flip.expected} became {flip.found}, margin {flip.margin:.2e}\n"
        for flip in parity.flips
    )
    return f"""
## Parity

Reference: the trained, unfused PyTorch model in float64. Floor: how far the same model in {manifest.precision.name} \
is from it. Accepted are {parity.multiple:g} times the floor, for the largest error and for the root mean square.

| output | largest error | floor | limit | rms error | limit | mean error | SQNR dB | cosine |
|---|---|---|---|---|---|---|---|---|
{rows}{top1}{flips}
Precision: {plain(manifest.dtype_stats.sentence)}.
{_orders(manifest)}{_rule(manifest)}{_float_build(manifest)}"""


def _rule(manifest: Manifest) -> str:
    """What was found of an output that follows from the others; nothing where none does."""
    rule = manifest.parity.rule
    if rule is None:
        return ""
    verdict = "each follows" if not rule.faults else f"**{rule.faults:,} faults**"
    return (
        f"\nRule: {rule.answers:,} {code(rule.name)} were held to the artifact's own outputs that they are chosen by: "
        f"{verdict}. Of the trained model's {rule.expected:,} it gives {rule.matched:,} (the class, and nine tenths of "
        "the box).\n"
    )


def _orders(manifest: Manifest) -> str:
    """What was found of layers that sort; nothing where none does."""
    parity = manifest.parity
    if not parity.orders:
        return ""
    rows = "".join(
        f"| {plain(o.layer)} | {o.tokens:,} | {o.disorder:.2e} | {o.limit_max:.2e} | {o.displaced_rms:.2e} "
        f"| {o.limit_rms:.2e} | {o.moved:.3%} |\n"
        for o in parity.orders
    )
    return f"""
Orders: the artifact sorts tokens by keys, and keys that rounding cannot tell apart come either way. Its own orders \
have to sort the float64 keys up to their noise, and the outputs above are compared with the reference under these \
orders. Between its own order and the artifact's, the reference itself moves by up to {parity.reordered:.2e}: that is \
left open by the model, and is in no limit.

| layer that sorts | tokens | out of order by | limit | rms | limit | placed otherwise |
|---|---|---|---|---|---|---|
{rows}"""


def _float_build(manifest: Manifest) -> str:
    return "" if manifest.float_build is None else f"\nGraph: {plain(manifest.float_build.sentence)}.\n"


def _accuracy(accuracy: AccuracyRecord | None) -> str:
    if accuracy is None:
        return ""
    verdict = "within the goal" if accuracy.passed else "**REJECTED: beyond the goal**"
    unit = accuracy.measured.unit if accuracy.measured else "points"
    by_figure = accuracy.pytorch is not None or accuracy.measured is not None
    lost = f"a drop of at most {{:g}} {unit}" if by_figure else "at most {:g}% changed answers"
    asked = {lost: accuracy.max_drop, "at least {:g} dB": accuracy.min_sqnr_db}
    goal = " and ".join(text.format(limit) for text, limit in asked.items() if limit is not None)
    if accuracy.pytorch is None or accuracy.artifact is None or accuracy.interval is None:  # without classes
        return f"\n## Accuracy\n\n{plain(accuracy.sentence)}: {verdict} ({goal}), {plain(accuracy.evaluator)}.\n"
    rows = "".join(
        f"| {what} | {hits.top1:.2%} | {'-' if hits.top5 is None else format(hits.top5, '.2%')} |\n"
        for what, hits in (("PyTorch", accuracy.pytorch), ("artifact", accuracy.artifact))
    )
    low, high = accuracy.interval
    return f"""
## Accuracy

On {accuracy.images} images ({plain(accuracy.source)}): {verdict} ({goal}), {plain(accuracy.evaluator)}.

| model | top-1 | top-5 |
|---|---|---|
{rows}
Drop {accuracy.drop:.2f} points, 95% interval {low:.2f} to {high:.2f}. Right in PyTorch alone: {accuracy.lost}, \
in the artifact alone: {accuracy.won}; McNemar's exact p = {accuracy.p_value:.3g}. Top-1 agreement \
{accuracy.agreement:.2%}, {accuracy.sqnr_db:.1f} dB.
"""


def _mixed(search: MixedSearch | None) -> str:
    if search is None:
        return ""
    kept = "".join(f"- {code(module)}\n" for module in search.kept) or "- none: the goal is reached without\n"
    rows = "".join(f"| {plain(one.module)} | {one.sqnr_db:.1f} |\n" for one in search.ranking)
    return f"""
## Kept in float

{kept}
With every layer in {search.base}: {search.before}. With these in float: {search.after}.

| layer, alone in {search.base} | SQNR dB |
|---|---|
{rows}"""


def _calibration(calibration: CalibrationReport | None) -> str:
    if calibration is None:
        return ""
    findings = "".join(
        f"- {finding.severity} {finding.name}: {plain(finding.message)}\n" for finding in calibration.findings
    )
    return f"""
## Calibration

Ranges of activations were observed on {calibration.images} images ({plain(calibration.source)}, pixels' sha256 \
`{calibration.sha256}`); `quantization.yaml` says what was quantized and how.
{findings or "The audit found nothing against them."}
"""


def _fusion(fusion: Sequence[BlockCertificate]) -> str:
    if not fusion:
        return ""
    rows = "".join(
        f"| {plain(block.block)} | {block.difference:.2e} | {block.bound:.2e} | {block.drift:.3g} |\n"
        for block in fusion
    )
    return f"""
## Fusion certificate

Fused against two-path convolution in float64 on real features; the bound is what rounding the summed weights can \
cost. Drift: how far training has moved the shift path from the pure shift.

| block | largest difference | bound | drift |
|---|---|---|---|
{rows}"""


def _use(manifest: Manifest) -> str:
    data = manifest.preprocessing
    tensors = "".join(
        f"- {kind} {code(spec.name)}: {spec.dtype} [{', '.join(map(str, spec.shape))}]\n"
        for kind, specs in (("input", manifest.inputs), ("output", manifest.outputs))
        for spec in specs
    )
    sides = "short side" if data.keep_aspect else "both sides"
    placed = (
        f"- resize ({sides}) to {data.resize[0]}x{data.resize[1]}, {data.interpolation}, then crop the centre to "
        f"{data.crop[0]}x{data.crop[1]}, RGB"
    )
    if data.fits:
        fill = ", ".join(f"{255 * channel:.0f}" for channel in data.mean)
        placed = (
            f"- resize, the ratio kept, to the largest that {data.crop[0]}x{data.crop[1]} holds, {data.interpolation}, "
            f"at the top left; fill the rest with the mean's colour ({fill}), RGB"
        )
    where = "inside the artifact" if data.embedded else "by the caller: (value/255 - mean) / std, channels first"
    classes = f"- classes, in order: {', '.join(map(plain, manifest.labels))}\n" if manifest.labels else ""
    settings = json.dumps(manifest.artifact.settings, allow_nan=False)
    return f"""
## How to feed it

{tensors}{placed}
- normalisation {where}; mean {data.mean}, std {data.std}
{classes}- load it with the settings that this proof holds for (`artifact.settings` in manifest.json): \
{code(settings)}; another load may compute in another precision
{_plain_load(manifest)}{_native(manifest)}
`slide-export verify` on this directory repeats the proof anywhere.
"""


def _plain_load(manifest: Manifest) -> str:
    return "" if manifest.plain_load is None else f"- {plain(manifest.plain_load.sentence)}\n"


def _native(manifest: Manifest) -> str:
    native = manifest.native
    if native is None:
        return ""
    return (
        f"- it needs {code(native.library)}, built from {code(native.source)} by {plain(native.compiler)}: "
        f"{code(native.command)}\n- {code(str(manifest.portable))} has the same model in a form that needs no library, "
        "with a proof of its own\n"
    )


def _versions(manifest: Manifest) -> str:
    return (
        "\n## Made with\n\n"
        + ", ".join(f"{plain(name)} {plain(version)}" for name, version in manifest.versions.items())
        + "\n"
    )
