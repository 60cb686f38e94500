"""What a user's own load of an artifact computes, where nobody hands it the settings of the proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class PlainLoad:
    """The shortest load that a runtime's manual shows, beside what was proved.

    Attributes:
        call: that load.
        same: whether it computes what was proved on every machine, as far as the runtime promises.
        options: what to set for what was proved, in the runtime's own words; empty where nothing has to be.
        why: what the runtime does, a sentence without its end.
        batch: what such a load takes and how another batch is had, a sentence without its end; "" where it takes any.
        computed: element types that products compute in on this machine after such a load; empty where nobody told.
        proved: the types in the proof.
        settings: what a session is started with to load so.
        evaluator: what ran it; "" where it was not measured.
        max_abs, limit_max: its largest error, and what the proof allowed; None where it was not measured.
        passed: whether it is within the proof's limits; None where it was not measured.
    """

    call: str
    same: bool
    options: Mapping[str, str]
    why: str
    computed: tuple[str, ...] = ()
    proved: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    evaluator: str = ""
    max_abs: float | None = None
    limit_max: float | None = None
    passed: bool | None = None
    batch: str = ""

    @property
    def differs_here(self) -> bool:
        """Whether it computes in other types than the proof on this machine."""
        return bool(self.computed) and set(self.computed) != set(self.proved)

    @property
    def sentence(self) -> str:
        """What it computes and what to set, in words."""
        if self.same:
            return f"plain load {self.call}: computes what was proved; {self.why}{self._batch}"
        options = ", ".join(f"{name}: {value}" for name, value in self.options.items())
        return f"plain load {self.call}: {self.why}; set {options} for what was proved{self._here}{self._batch}"

    @property
    def _batch(self) -> str:
        return f"; {self.batch}" if self.batch else ""

    @property
    def _here(self) -> str:
        types = "/".join(self.computed) or "types that it does not tell"
        if self.max_abs is None or self.limit_max is None:
            return f" (on this machine it computes in {types})"
        verdict = "within" if self.passed else "BEYOND"
        return f" (on this machine it computes in {types}: error {self.max_abs:.1e}, {verdict} {self.limit_max:.1e})"
