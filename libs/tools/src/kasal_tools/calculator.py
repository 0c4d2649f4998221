"""Arithmetic, bounded so that no expression takes long."""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import ClassVar

from pydantic import BaseModel, Field
from simpleeval import InvalidExpression, SimpleEval

from .plugins import Category, Effect, NoConfig, ToolContext, ToolError, ToolPlugin

Number = int | float

MAX_LENGTH = 500
# Integers stay below 2**MAX_BITS, so 500 characters of operators on them cost microseconds each.
MAX_BITS = 20_000

# Far under the interpreter's own limit, which depends on who calls.
MAX_DEPTH = 150

NAMES: Mapping[str, Number] = {"pi": math.pi, "e": math.e, "tau": math.tau}


def _numbers(*values: object) -> None:
    if not all(isinstance(value, int | float) for value in values):
        raise ToolError("Only numbers can be calculated with.")


def _arithmetic(
    operation: Callable[[Number, Number], Number],
) -> Callable[[Number, Number], Number]:
    def bounded(left: Number, right: Number) -> Number:
        _numbers(left, right)
        result = operation(left, right)
        if isinstance(result, int) and result.bit_length() > MAX_BITS:
            raise ToolError("The result is too large.")
        return result

    return bounded


def _power(base: Number, exponent: Number) -> Number:
    _numbers(base, exponent)
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > MAX_BITS:
        raise ToolError("The power is too large.")
    result: Number | complex = base**exponent
    if isinstance(result, complex):
        raise ToolError("The result is not a real number.")
    return result


FUNCTIONS: Mapping[str, Callable[..., Number]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "floor": math.floor,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "max": max,
    "min": min,
    "pow": _power,
    "round": round,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
}

OPERATORS: Mapping[type[ast.AST], Callable[..., object]] = {
    ast.Add: _arithmetic(operator.add),
    ast.Sub: _arithmetic(operator.sub),
    ast.Mult: _arithmetic(operator.mul),
    ast.Div: _arithmetic(operator.truediv),
    ast.FloorDiv: _arithmetic(operator.floordiv),
    ast.Mod: _arithmetic(operator.mod),
    ast.Pow: _power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class BoundedEval(SimpleEval):  # type: ignore[misc]
    """Refuses expressions that are nested too deeply."""

    depth = 0

    def _eval(self, node: ast.AST) -> object:
        if self.depth >= MAX_DEPTH:
            raise ToolError(f"The expression is nested more than {MAX_DEPTH} levels deep.")
        self.depth += 1
        try:
            return super()._eval(node)
        finally:
            self.depth -= 1


def calculate(expression: str) -> Number:
    """Raise `ToolError` when `expression` is not arithmetic or its result has no bounds."""
    if len(expression) > MAX_LENGTH:
        raise ToolError(f"The expression is longer than {MAX_LENGTH} characters.")
    evaluator = BoundedEval(operators=dict(OPERATORS), functions=dict(FUNCTIONS), names=dict(NAMES))
    try:
        result: Number = evaluator.eval(expression)
    except ZeroDivisionError:
        raise ToolError("Division by zero.") from None
    except OverflowError:
        raise ToolError("The result is too large.") from None
    except (
        InvalidExpression,
        SyntaxError,
        ValueError,
        TypeError,
        RecursionError,
        MemoryError,
    ) as error:
        raise ToolError(f"This is not an expression that can be calculated: {error}") from None
    _numbers(result)
    return result


class CalculatorArguments(BaseModel):
    expression: str = Field(
        description="Arithmetic such as `(3 + 4) * 2 ** 8 / sqrt(2)`; functions: " + ", ".join(sorted(FUNCTIONS)),
    )


class Calculator(ToolPlugin[NoConfig, CalculatorArguments]):
    name: ClassVar[str] = "calculator"
    title: ClassVar[str] = "Calculator"
    category: ClassVar[Category] = Category.ANALYSIS
    description: ClassVar[str] = "Evaluates an arithmetic expression exactly and answers with the number."
    effect: ClassVar[Effect] = "pure"
    Arguments: ClassVar[type[BaseModel]] = CalculatorArguments

    def run(self, arguments: CalculatorArguments, context: ToolContext[NoConfig]) -> str:  # noqa: ARG002
        return str(calculate(arguments.expression))
