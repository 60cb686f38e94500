"""Inside a package, by our evaluator: the time of each operation, and the values on the way to the outputs."""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slide_export.backends.profile import WARM, lines
from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.errors import BundleError, RequestError, option
from slide_export.core.graph import Value
from slide_export.core.measurement import Executed, ModuleTime

from .package import as_fed, batch_sizes, pieces, read_package
from .session import substitute_runtime


def profile(path: Path, settings: Mapping[str, Any], feeds: Feeds, calls: int) -> tuple[ModuleTime, ...]:
    """Times of our evaluator, operation by operation.

    Raises:
        RequestError: on macOS, where CoreML tells coremltools no times.
        BundleError: the package cannot be run.
    """
    if substitute_runtime() is None:
        raise RequestError(
            f"expected no {option('profile')} for {path} on macOS: Xcode's Core ML instrument shows its times"
        )
    from slide_export.mil import Evaluator, MilError, timing
    from slide_export.mil.module_names import module_names

    package = read_package(path)
    times, count = defaultdict[str, list[float]](list), len(next(iter(feeds.values())))
    try:
        evaluator = Evaluator(package, settings["mode"])
        for _ in range(WARM + calls):
            spent: Counter[str] = Counter()
            for start, end in pieces(count, batch_sizes(package.inputs[0])):
                fed = {entry.name: as_fed(entry, feeds[entry.name][start:end]) for entry in package.inputs}
                spent.update(timing.spent_ms(evaluator, fed))
            for result, ms in spent.items():
                times[result].append(ms)
    except MilError as error:
        raise BundleError(f"expected a package that runs here: {error}") from error
    modules, products = module_names(package.operations()), timing.products(package)
    types = {operation.outputs[0].name: operation.type for operation in package.operations() if operation.outputs}
    return lines(
        [
            Executed(modules[result] or None, types[result], products[result], tuple(ms[WARM:]))
            for result, ms in times.items()
        ]
    )


def values(path: Path, settings: Mapping[str, Any]) -> tuple[Value, ...]:
    """Every value of the program that depends on an input, in the order of execution.

    The package says which module each operation is; one that says nothing is read by the names of its weights.

    Raises:
        BundleError: the package cannot be read.
    """
    from slide_export.mil.module_names import module_names, references

    package = read_package(path)
    computing = [operation for operation in package.operations() if not operation.is_constant]
    modules = package.modules() or module_names(computing)
    live = set(package.program.inputs)
    found = []
    for operation in computing:
        takes = tuple(name for name in references(operation) if name in live)
        names = [output.name for output in operation.outputs]
        if takes:
            live.update(names)
            scope = modules.get(operation.name, modules.get(names[0]))
            found += [Value(name, scope, takes) for name in names]
    return tuple(found)


def intermediates(path: Path, settings: Mapping[str, Any], names: Sequence[str]) -> EvaluatorSession:
    """Open a session of our evaluator that gives these values: CoreML itself shows none.

    Raises:
        BundleError: the package cannot be evaluated.
    """
    return EvaluatorSession(path, settings, names)


class EvaluatorSession:
    """The values inside a package, by our evaluator."""

    def __init__(self, path: Path, settings: Mapping[str, Any], names: Sequence[str] = ()) -> None:
        from slide_export.mil import Evaluator, MilError

        package = read_package(path)
        self._inputs = package.inputs
        self._names = names
        try:
            self._evaluator = Evaluator(package, settings["mode"])
        except MilError as error:
            raise BundleError(f"expected a package that can be evaluated: {error}") from error
        self.evaluator = f"evaluated on {platform.system()} ({settings['mode']})"

    def run(self, feeds: Feeds) -> Outputs:
        """Compute the values for one batch that the package permits.

        Raises:
            BundleError: the package cannot be evaluated.
        """
        from slide_export.mil import MilError

        fed = {entry.name: as_fed(entry, feeds[entry.name]) for entry in self._inputs}
        try:
            results = self._evaluator.run(fed, watch=self._names)
        except MilError as error:
            raise BundleError(f"expected a package that takes what it declares: {error}") from error
        return {name: results[name] for name in self._names}
