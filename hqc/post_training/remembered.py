"""A network whose candidates are measured once, also where a search is interrupted."""

from __future__ import annotations

import json
from pathlib import Path

from hqc.post_training.network import Candidate, Choice, Network

CANDIDATES = "candidates.jsonl"
"""File of what was measured: one JSON object a line, one line a candidate."""


class Remembered(Network):
    """A network that reads what was measured before from a file, and adds what it measures.

    As methods measure the same in the same order, a search goes on where it was interrupted.
    """

    def __init__(self, network: Network, file: Path) -> None:
        self.layers, self._network, self._file = network.layers, network, file
        self._known: dict[tuple, float] = {}
        whole = []
        for line in file.read_text().splitlines() if file.exists() else ():
            try:
                found = json.loads(line)
            except ValueError:
                break  # the search ended while it wrote this
            self._known[_key(found["what"], found["choices"])] = found["value"]
            whole.append(line + "\n")
        file.write_text("".join(whole))

    def drop(self, choices: Candidate) -> float:
        """Accuracy that a candidate loses."""
        return self._measured("drop", choices)

    def drift(self, choices: Candidate) -> float:
        """How far a candidate moves membrane potentials."""
        return self._measured("drift", choices)

    def _measured(self, what: str, choices: Candidate) -> float:
        key = _key(what, choices)
        if key not in self._known:
            self._known[key] = getattr(self._network, what)(choices)
            line = {"what": what, "choices": dict(choices), "value": self._known[key]}
            with self._file.open("a") as file:
                file.write(json.dumps(line) + "\n")
        return self._known[key]

    def finish(self, recipe: dict[str, Choice], **found: object) -> dict:
        """Round every layer for good."""
        return self._network.finish(recipe, **found)


def _key(what: str, choices: Candidate) -> tuple:
    return what, frozenset(choices.items())
