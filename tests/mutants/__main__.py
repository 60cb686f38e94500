"""`python -m tests.mutants FILE… --kinds KIND… --rest N --seed S`: mutants of the deciding files, and who survives.

Every constant, comparison and default, and a seeded sample of the rest. Each is tried by the file's own tests, then by
the others of its room. Verdicts are kept in build/mutants, and a mutant that has one is not tried again, except for
`--again survived`. Those that change nothing anyone could see are named in equivalent.txt, each with its reason.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from . import deciding
from .deciding import ROOT
from .mutate import Mutant, mutants
from .trial import Pair, Verdict, imported, live_verdicts
from .warm import warm_up

KINDS = ("constant", "comparison", "default")
REST = 400
KEPT = ROOT / "build" / "mutants"
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
DONE = frozenset({"killed", "timeout"})
OPEN = "open"  # survived the file's own tests, the room's have not been asked
ALIVE = ("survived", "unreached", OPEN)


class Kept:
    """Verdicts of earlier runs and of this one, a line each; the last one of a mutant holds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = map(json.loads, path.read_text().splitlines()) if path.exists() else iter(())
        self.verdicts: dict[str, str] = {line["mutant"]: line["verdict"] for line in lines}

    def add(self, mutant: Mutant, verdict: str) -> None:
        """Keep a verdict, and print a survivor."""
        self.verdicts[mutant.key] = verdict
        with self._path.open("a") as file:
            print(json.dumps({"mutant": mutant.key, "verdict": verdict}), file=file)
        if verdict not in DONE:
            print(f"  {verdict}: line {mutant.line}, {mutant.key}", flush=True)


def equivalents() -> frozenset[str]:
    """Keys of mutants that no test can notice; the file has one a line, and its reason in the line before."""
    lines = EQUIVALENT.read_text().splitlines() if EQUIVALENT.exists() else []
    return frozenset(line for line in lines if line and not line.startswith("#"))


def asked_for(kinds: list[str], rest: int, seed: int) -> dict[str, list[Pair]]:
    """Mutants of every deciding file: all of these kinds, and `rest` of the others over all files."""
    known = equivalents()
    found = {path: mutants(path, (ROOT / path).read_text()) for path in deciding.DECIDING}
    others = sorted(mutant.key for pairs in found.values() for mutant, _ in pairs if mutant.kind == "other")
    wanted = set(random.Random(seed).sample(others, min(rest, len(others))))
    return {
        path: [(one, tree) for one, tree in pairs if (one.kind in kinds or one.key in wanted) and one.key not in known]
        for path, pairs in found.items()
    }


def verdicts(path: str, pairs: list[Pair], *, own: bool) -> Iterator[tuple[Mutant, str]]:
    """Verdict of each mutant of a file, by its own tests and, unless they alone are asked, by its room's."""
    left = {mutant.key: (mutant, tree) for mutant, tree in pairs}
    reached = set()
    for files in ((deciding.mirror(path),), () if own else deciding.others(path)):
        by_own = files == (deciding.mirror(path),)
        for found in live_verdicts(files, list(left.values()), KEPT / "session.jsonl", own=by_own):
            verdict = _certain(left[found.mutant], found)
            reached |= {found.mutant} if found.tests else set()
            if verdict in DONE:
                yield left.pop(found.mutant)[0], verdict
    for key, (mutant, _) in left.items():
        yield mutant, OPEN if own else "survived" if key in reached else "unreached"


def _certain(pair: Pair, found: Verdict) -> str:
    """What a new import says where the running process could not be changed, or not in all places."""
    bound = pair[0].names and found.verdict not in DONE
    return (
        imported(pair, found.tests).verdict if found.tests and (found.verdict == "not put" or bound) else found.verdict
    )


def main(arguments: list[str] | None = None) -> int:
    """Try what has no verdict yet, and print each survivor and the figure; 1 where one survived."""
    asked = _parse(arguments)
    warm_up()
    kept = Kept(KEPT / "verdicts.jsonl")
    found = asked_for(asked.kinds, asked.rest, asked.seed)
    again = asked.again if asked.own else [OPEN, *asked.again]
    for path in asked.files:
        left = [pair for pair in found[path] if kept.verdicts.get(pair[0].key, "none") in ("none", *again)]
        print(f"{path}: {len(left)} of {len(found[path])} mutants to try", flush=True)
        for mutant, verdict in verdicts(path, left, own=asked.own) if left else ():
            kept.add(mutant, verdict)
    counts = Counter(kept.verdicts.get(one.key, "not tried") for path in asked.files for one, _ in found[path])
    print(", ".join(f"{number} {verdict}" for verdict, number in counts.most_common()), f"(seed {asked.seed})")
    return int(any(counts[verdict] for verdict in ALIVE))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE", default=list(deciding.DECIDING), help="all without one")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--rest", type=int, default=REST, help="how many of the other mutants over all files")
    parser.add_argument("--seed", type=int, default=0, help="draws them")
    parser.add_argument("--again", nargs="+", default=[], metavar="VERDICT", help="try those with this verdict again")
    parser.add_argument("--own", action="store_true", help="by each file's own tests alone")
    asked = parser.parse_args(arguments)
    if unknown := sorted(set(asked.files) - set(deciding.DECIDING)):
        parser.error(f"expected files of tests/mutants/deciding.py, found {', '.join(unknown)}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
