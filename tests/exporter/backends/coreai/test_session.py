"""An asset behind a plain call: its inputs, its batch, what is said where it does not run, and what it proves."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from slide_export.backends.coreai import session
from slide_export.backends.coreai.asset import Asset
from slide_export.backends.coreai.session import NOT_PROVED, Session
from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.errors import BundleError, RequestError

SETTINGS = {"inputs": ("images", "more"), "outputs": ("logits",), "batch": None, "operations": 1}
FEEDS = {"images": np.ones((2, 3), np.float32), "more": np.zeros((2, 1), np.float32)}


class Runtime:
    """What stands in the place of Core AI: it doubles what it is fed, or raises."""

    products: tuple[str, ...] = ("float32",)
    refuses: Exception | None = None

    async def opened(self, _path: Path) -> str:
        if self.refuses:
            raise self.refuses
        return "as it is"

    async def called(self, function: str, feeds: Feeds) -> Outputs:
        if self.refuses:
            raise self.refuses
        self.function = function
        return {"logits": 2 * feeds["images"], "unasked": feeds["images"]}


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    made = Runtime()
    monkeypatch.setattr(session, "read_asset", lambda _path: Asset((), made.products, ()))
    monkeypatch.setattr(session, "_opened", made.opened)
    monkeypatch.setattr(session, "_opened_wide", lambda _path: "widened")
    monkeypatch.setattr(session, "_called", made.called)
    monkeypatch.setattr(session, "_settle_at_exit", lambda: None)
    return made


@pytest.mark.parametrize(
    ("products", "function"), [(("float32",), "as it is"), ((), "as it is"), (("float32", "float16"), "widened")]
)
def test_a_float16_asset_runs_widened_and_says_so(products: tuple[str, ...], function: str, runtime: Runtime) -> None:
    runtime.products = products
    opened = Session(Path("m.aimodel"), SETTINGS)
    found = opened.run(FEEDS)
    assert runtime.function == function
    assert (NOT_PROVED in opened.evaluator) is (function == "widened")
    assert found.keys() == {"logits"}
    assert found["logits"].tolist() == [[2] * 3] * 2


def test_it_can_be_called_from_a_running_loop(runtime: Runtime) -> None:
    async def notebook() -> Outputs:
        return Session(Path("m.aimodel"), SETTINGS).run(FEEDS)

    assert asyncio.run(notebook())["logits"].shape == (2, 3)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "expected the input images, more, found none"),
        ({"images": FEEDS["images"]}, "expected the input images, more, found images"),
        ({**FEEDS, "third": FEEDS["more"]}, "found images, more, third"),
    ],
)
def test_feeds_are_the_inputs(feeds: Feeds, message: str, runtime: Runtime) -> None:
    with pytest.raises(RequestError, match=message):
        Session(Path("m.aimodel"), SETTINGS).run(feeds)


@pytest.mark.parametrize(("batch", "taken"), [(None, True), (2, True), (3, False)])
def test_a_fixed_batch_is_that_alone(batch: int | None, taken: bool, runtime: Runtime) -> None:
    opened = Session(Path("m.aimodel"), {**SETTINGS, "batch": batch})
    if taken:
        assert len(opened.run(FEEDS)["logits"]) == 2
    else:
        with pytest.raises(RequestError, match="expected a batch of 3, found 2: export another"):
            opened.run(FEEDS)


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, KeyError, OSError])
def test_what_does_not_run_is_refused_in_our_words(kind: type[Exception], runtime: Runtime) -> None:
    opened = Session(Path("m.aimodel"), SETTINGS)
    runtime.refuses = kind("said by the runtime")
    with pytest.raises(BundleError, match=r"m\.aimodel is none: .*said by the runtime"):
        Session(Path("m.aimodel"), SETTINGS)
    runtime.refuses = RuntimeError("said by the runtime")
    with pytest.raises(BundleError, match="takes what it declares, Core AI says: said by the runtime"):
        opened.run(FEEDS)
