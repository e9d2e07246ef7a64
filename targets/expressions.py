"""Equations of energy profiles: their dimensions, checked without numbers, and their values."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import lark

from hqc.targets.syntax import Source, suggest
from hqc.targets.units import NUMBER, UNITS, Dimension

_COMPARISONS: dict[str, Callable] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}


@dataclass(frozen=True)
class Function:
    """A built-in function: `keeps` says that its result has the dimension of its arguments.

    One that does not takes and gives plain numbers. `arity` None is one or more.
    """

    about: str
    compute: Callable[..., float]
    keeps: bool
    arity: int | None = 1


FUNCTIONS = {
    "min": Function("the smallest", lambda *numbers: min(numbers), keeps=True, arity=None),
    "max": Function("the largest", lambda *numbers: max(numbers), keeps=True, arity=None),
    "ceil": Function("the next whole number, in base units", math.ceil, keeps=True),
    "floor": Function("the whole number below, in base units", math.floor, keeps=True),
    "log2": Function("the binary logarithm of a plain number", math.log2, keeps=False),
    "sqrt": Function("the square root of a plain number", math.sqrt, keeps=False),
}


@dataclass(frozen=True)
class Equation:
    """A quantity or, with `parameters`, a function, as one line of a profile defines it."""

    name: str
    parameters: dict[str, Dimension] | None
    body: lark.Tree
    constants_from: str | None
    source: Source
    place: lark.Token


@dataclass
class Scope:
    """Names that an expression may use: equations, and quantities from outside.

    The one evaluation serves two algebras: with `dimensions`, `given` holds `Dimension`s and so
    does the result; without, both are numbers in base units.
    """

    equations: Mapping[str, Equation]
    given: Mapping[str, float | Dimension]
    dimensions: bool = False
    _known: dict[str, float | Dimension] = field(default_factory=dict)
    _pending: list[str] = field(default_factory=list)

    def quantity(self, name: str) -> float | Dimension:
        """The value of an equation without parameters."""
        return self._equation(self.equations[name])

    def function(self, equation: Equation) -> Dimension:
        """The dimension of a function's result, for parameters of the units it declares."""
        return self._apply(equation, list(equation.parameters.values()))

    def _equation(self, equation: Equation) -> float | Dimension:
        if equation.name not in self._known:
            self._known[equation.name] = self._body(equation, {})
        return self._known[equation.name]

    def _apply(self, equation: Equation, arguments: list) -> float | Dimension:
        return self._body(equation, dict(zip(equation.parameters, arguments, strict=True)))

    def _body(self, equation: Equation, local: Mapping) -> float | Dimension:
        if equation.name in self._pending:
            chain = [*self._pending[self._pending.index(equation.name) :], equation.name]
            raise equation.source.error_at(
                equation.place, f"{equation.name!r} depends on itself: {' -> '.join(chain)}"
            )
        self._pending.append(equation.name)
        try:
            return self._of(equation.body, equation, local)
        except RecursionError:
            raise equation.source.error_at(
                equation.place, "this equation is nested too deeply"
            ) from None
        finally:
            self._pending.pop()

    def _of(self, node: lark.Tree, at: Equation, local: Mapping) -> float | Dimension:
        """The value of a node of an equation's body."""
        visit: Callable = getattr(self, f"_{node.data}")
        try:
            return visit(node, at, local)
        except (ArithmeticError, ValueError) as error:
            raise at.source.error_at(node, f"this has no value here: {error}") from None

    def _number(self, node: lark.Tree, at: Equation, _local: Mapping) -> float | Dimension:
        return number_dimension(node) if self.dimensions else number_value(node, at.source)

    def _name(self, node: lark.Tree, at: Equation, local: Mapping) -> float | Dimension:
        token = node.children[0]
        for names in (local, self.given):
            if token in names:
                return names[token]
        if token not in self.equations:
            known = [*local, *self.equations, *self.given]
            hint = suggest(token, known) or f"a layer's quantities are: {', '.join(self.given)}"
            raise at.source.error_at(token, f"there is no quantity {str(token)!r}", hint)
        equation = self.equations[token]
        if equation.parameters is not None:
            raise at.source.error_at(
                token, f"{str(token)!r} is a function", f"write {signature(equation)}"
            )
        return self._equation(equation)

    def _call(self, node: lark.Tree, at: Equation, local: Mapping) -> float | Dimension:
        token, *children = node.children
        arguments = [self._of(child, at, local) for child in children if child is not None]
        equation = self.equations.get(token)
        if equation is None:
            return self._builtin(node, token, arguments, at)
        if equation.parameters is None:
            raise at.source.error_at(token, f"{str(token)!r} is not a function")
        self._arity(token, at, len(arguments), len(equation.parameters), signature(equation))
        if self.dimensions:
            for child, given, (name, wanted) in zip(
                children, arguments, equation.parameters.items(), strict=True
            ):
                if given != wanted:
                    raise at.source.error_at(
                        child, f"{name!r} of {str(token)!r} is {wanted}, this is {given}"
                    )
        return self._apply(equation, arguments)

    def _builtin(
        self, node: lark.Tree, token: lark.Token, arguments: list, at: Equation
    ) -> float | Dimension:
        function = FUNCTIONS.get(str(token))
        if function is None:
            known = [*FUNCTIONS, *(n for n, e in self.equations.items() if e.parameters)]
            raise at.source.error_at(
                token,
                f"there is no function {str(token)!r}",
                suggest(token, known) or f"functions are: {', '.join(known)}",
            )
        self._arity(token, at, len(arguments), function.arity or max(len(arguments), 1), token)
        if not self.dimensions:
            return function.compute(*arguments)
        if not function.keeps:
            self._same(node, at, arguments[0], NUMBER, str(token))
            return NUMBER
        for argument in arguments[1:]:
            self._same(node, at, argument, arguments[0], str(token))
        return arguments[0]

    def _arity(self, token: lark.Token, at: Equation, given: int, wanted: int, use: str) -> None:
        if given != wanted:
            raise at.source.error_at(
                token, f"{str(token)!r} takes {wanted} arguments, not {given}", f"write {use}"
            )

    def _same(
        self, node: lark.Tree | lark.Token, at: Equation, left: object, right: object, what: str
    ) -> None:
        if self.dimensions and left != right:
            raise at.source.error_at(node, f"{what!r} meets {left} and {right}")

    def _sum(self, node: lark.Tree, at: Equation, local: Mapping) -> float | Dimension:
        left, sign, right = node.children
        a, b = self._of(left, at, local), self._of(right, at, local)
        self._same(sign, at, a, b, str(sign))
        if self.dimensions:
            return a
        return a + b if sign == "+" else a - b

    def _product(self, node: lark.Tree, at: Equation, local: Mapping) -> float | Dimension:
        left, sign, right = node.children
        a, b = self._of(left, at, local), self._of(right, at, local)
        return a * b if sign == "*" else a / b

    def _negative(self, node: lark.Tree, at: Equation, local: Mapping) -> float | Dimension:
        value = self._of(node.children[0], at, local)
        return value if self.dimensions else -value

    def _power(self, node: lark.Tree, at: Equation, local: Mapping) -> float | Dimension:
        base, exponent = node.children
        if not (exponent.isdigit() and len(exponent) == 1):
            raise at.source.error_at(exponent, "an exponent is a whole number from 0 to 9")
        return self._of(base, at, local) ** int(exponent)

    def _comparison(self, node: lark.Tree, at: Equation, local: Mapping) -> float | Dimension:
        left, compare, right = node.children
        a, b = self._of(left, at, local), self._of(right, at, local)
        self._same(compare, at, a, b, str(compare))
        return NUMBER if self.dimensions else float(_COMPARISONS[compare](a, b))

    def _negation(self, node: lark.Tree, at: Equation, local: Mapping) -> float | Dimension:
        value = self._of(node.children[0], at, local)
        self._same(node, at, value, NUMBER, "not")
        return NUMBER if self.dimensions else float(not value)

    def _conditional(self, node: lark.Tree, at: Equation, local: Mapping) -> float | Dimension:
        yes, condition, no = node.children
        chosen = self._of(condition, at, local)
        if not self.dimensions:
            return self._of(yes if chosen else no, at, local)
        self._same(condition, at, chosen, NUMBER, "if")
        a, b = self._of(yes, at, local), self._of(no, at, local)
        self._same(node, at, a, b, "else")
        return a


def number_dimension(node: lark.Tree) -> Dimension:
    """The dimension of a number with its unit."""
    unit = node.children[1]
    return UNITS[unit][1] if unit is not None else NUMBER


def number_value(node: lark.Tree, source: Source) -> float:
    """A number in base units. Raises `TargetFileError` for one that is too large."""
    digits, unit = node.children
    value = float(digits) * (UNITS[unit][0] if unit is not None else 1)
    if not math.isfinite(value):
        raise source.error_at(digits, "this number is too large")
    return value


def signature(equation: Equation) -> str:
    """How a function is called."""
    return f"{equation.name}({', '.join(equation.parameters)})"
