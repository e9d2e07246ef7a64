"""From `.hqt` text to an `EnergyProfile`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import lark

from hqc.targets.expressions import FUNCTIONS, Equation, Scope
from hqc.targets.syntax import Block, find, names, unquote
from hqc.targets.units import DATA, ENERGY, NUMBER, UNITS, Dimension

QUANTITIES: dict[str, tuple[Dimension, str]] = {
    "T": (NUMBER, "time steps of the model"),
    "synapses": (NUMBER, "connections in an inference, over all time steps, without padding"),
    "operations": (NUMBER, "synaptic operations: those of the synapses that a spike crosses"),
    "rate": (NUMBER, "spikes an input and time step"),
    "inputs": (NUMBER, "input values in an inference"),
    "input_bits": (DATA, "bits of an input value: 1 of a spike"),
    "spiking": (NUMBER, "1 where the inputs are spikes, 0 where they are numbers"),
    "weights": (NUMBER, "weights"),
    "weight_bits": (DATA, "bits a weight is stored in"),
    "code_bits": (DATA, "bits of the integer that a weight stands for"),
    "accumulator_bits": (DATA, "bits that a sum over all inputs needs"),
    "float_weights": (NUMBER, "1 where the weights are floats, else 0"),
    "power_of_two": (NUMBER, "1 where the weights are powers of two, else 0"),
    "neurons": (NUMBER, "neurons behind the layer"),
    "updates": (NUMBER, "updates of their membrane potentials in an inference"),
}
"""What an equation may ask of a layer: dimension and meaning, by name."""

_REQUIRED = {"storage": DATA, "energy": ENERGY}


@dataclass(frozen=True)
class Energy:
    """What a layer takes: storage in bit, energy in pJ, and the terms that energy adds up."""

    storage: float
    total: float
    terms: dict[str, float]


@dataclass(frozen=True)
class EnergyProfile:
    """Energy equations, and where they come from.

    `open` says what the sources leave open; `terms` are the names that `energy` adds up.
    """

    name: str
    about: str
    source: str
    open: tuple[str, ...]
    equations: Mapping[str, Equation]
    terms: tuple[str, ...]

    def evaluate(self, quantities: Mapping[str, float]) -> Energy:
        """The energy of a layer, from a value for each of `QUANTITIES`, sizes in bit.

        Raises `TargetFileError` where an equation divides by zero and the like.
        """
        scope = Scope(self.equations, quantities)
        return Energy(
            scope.quantity("storage"),
            scope.quantity("energy"),
            {term: scope.quantity(term) for term in self.terms},
        )


def profile_names() -> list[str]:
    """The names of the energy profiles that hqc ships."""
    return names("energy")


def load_profile(name: str) -> EnergyProfile:
    """A shipped energy profile by name, or the last one of a user's `.hqt` file by path.

    Every equation is checked for its dimension. Raises `UserError` for an unknown name,
    `TargetFileError` for a mistake in a file.
    """
    lineage = find("energy", name)
    equations: dict[str, Equation] = {}
    texts: dict[str, list[str]] = {}
    for block in reversed(lineage):
        equations |= own_equations(block)
        texts |= own_texts(block)
    block = lineage[0]
    given = {quantity: dimension for quantity, (dimension, _) in QUANTITIES.items()}
    scope = Scope(equations, given, dimensions=True)
    for equation in equations.values():
        if equation.parameters is None:
            scope.quantity(equation.name)
        else:
            scope.function(equation)
    for required, dimension in _REQUIRED.items():
        if required not in equations or equations[required].parameters is not None:
            raise block.source.error_at(
                block.name, f"profile {str(block.name)!r} has no equation for {required!r}"
            )
        found = scope.quantity(required)
        if found != dimension:
            equation = equations[required]
            raise equation.source.error_at(
                equation.place, f"{required!r} must be {dimension}, and is {found}"
            )
    return EnergyProfile(
        str(block.name),
        " ".join(texts.get("about", [])),
        " ".join(texts.get("source", [])),
        tuple(texts.get("open", [])),
        equations,
        tuple(_terms(equations["energy"].body, equations)),
    )


def own_equations(block: Block) -> dict[str, Equation]:
    """The equations that a profile says itself. Raises `TargetFileError`."""
    found: dict[str, Equation] = {}
    for statement in block.statements:
        if statement.data != "equation":
            continue
        token, parameters, body, constants_from = statement.children
        if token in found:
            raise block.source.error_at(token, f"{str(token)!r} is defined twice")
        if taken := _taken(str(token)):
            raise block.source.error_at(token, f"{str(token)!r} is {taken}", "choose another name")
        found[str(token)] = Equation(
            str(token),
            _parameters(parameters, block) if parameters is not None else None,
            body,
            unquote(constants_from) if constants_from is not None else None,
            block.source,
            token,
        )
    return found


def own_texts(block: Block) -> dict[str, list[str]]:
    """What a profile says of itself: about, source and open."""
    texts: dict[str, list[str]] = {}
    for statement in block.statements:
        if statement.data != "equation":
            texts.setdefault(statement.data, []).append(unquote(statement.children[0]))
    return texts


def _taken(name: str) -> str | None:
    if name in UNITS:
        return "a unit"
    if name in QUANTITIES:
        return "a quantity of the layer"
    return "a built-in function" if name in FUNCTIONS else None


def _parameters(parameters: lark.Tree, block: Block) -> dict[str, Dimension]:
    found: dict[str, Dimension] = {}
    for parameter in parameters.children:
        token, unit = parameter.children
        if token in found:
            raise block.source.error_at(token, f"parameter {str(token)!r} is there twice")
        if taken := _taken(str(token)):
            raise block.source.error_at(token, f"{str(token)!r} is {taken}", "choose another name")
        found[str(token)] = UNITS[unit][1] if unit is not None else NUMBER
    return found


def _terms(body: lark.Tree, equations: Mapping[str, Equation]) -> list[str]:
    """The names that an expression adds up, none where it is not such a sum."""
    if body.data == "name" and body.children[0] in equations:
        return [str(body.children[0])]
    if body.data == "sum" and body.children[1] == "+":
        left, right = (_terms(c, equations) for c in (body.children[0], body.children[2]))
        return [*left, *right] if left and right else []
    return []
