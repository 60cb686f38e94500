"""The stages of a sweep, in the order in which a checkpoint goes through them."""

from __future__ import annotations

from dataclasses import dataclass

TARGET = "target:"
"""Before the name of a target in what a worker offers: it is installed there."""


@dataclass(frozen=True)
class Stage:
    """What is the same for every job of a stage.

    Attributes:
        version: another one makes every job of the stage new: to be raised when what it does changes.
        function: what its child process runs, MODULE:NAME; empty where the worker itself does.
        kind: of its output, for the database; empty where there is none.
        memory_gib: that it takes where the plan does not say.
        exclusive: it runs alone on its machine.
        deterministic: a second execution has to give the same bytes.
        lenient: it takes what there is of its needs.
        ephemeral: its output is removed once its last reader is done.
        of_target: it needs what a target needs.
    """

    version: int
    function: str = ""
    kind: str = ""
    memory_gib: float = 0.0
    exclusive: bool = False
    deterministic: bool = True
    lenient: bool = False
    ephemeral: bool = False
    of_target: bool = False


OF_PLANS = {
    "prepare": Stage(1, "slide_export.fleet.exporting:prepare_one", "prepared", 4.0),
    "export": Stage(1, "slide_export.fleet.exporting:export_one", "bundle", 4.0, of_target=True),
    "verify": Stage(1, "slide_export.fleet.exporting:verify_one", memory_gib=2.0, of_target=True),
    "reference": Stage(1, "slide_export.fleet.evaluating:reference_one", "reference", 2.0, ephemeral=True),
    "evaluate": Stage(1, "slide_export.fleet.evaluating:evaluate_one", "counts", 2.0, of_target=True),
    "merge": Stage(1, "slide_export.fleet.evaluating:merge_one", memory_gib=2.0),
    "bench": Stage(
        1, "slide_export.fleet.measuring:bench_one", memory_gib=2.0, exclusive=True, deterministic=False, lenient=True
    ),
}
STAGES = {
    **OF_PLANS,
    # What a sweep is measured with and its faults are caused by.
    "simulated": Stage(1, "slide_export.fleet.simulated:in_child"),
    "simulated alone": Stage(1, "slide_export.fleet.simulated:in_child", exclusive=True),
}
