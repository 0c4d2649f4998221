import pytest
from kasal_tools import ToolError
from kasal_tools.calculator import calculate


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("2 + 3 * 4", 14),
        ("2 ** 10", 1024),
        ("sqrt(16) + round(2.6)", 7),
        ("-7 // 2", -4),
        ("max(1, 2, 3) % 2", 1),
    ],
)
def test_it_calculates(expression: str, result: float) -> None:
    assert calculate(expression) == result


@pytest.mark.parametrize(
    "expression",
    [
        "9 ** 9 ** 9",
        "2 ** 1000000",
        "pow(10, 10 ** 6)",
        "1 / 0",
        "(-1) ** 0.5",
        "1e308 * 10 ** 400",
        "'a' * 10",
        "'a'",
        "[1] * 3",
        "__import__('os')",
        "(1).__class__",
        "open('/etc/passwd')",
        "lambda: 1",
        "x + 1",
        "1 +",
        "",
        "1" * 501,
        "-" * 499 + "1",
        "-" * 151 + "1",
        "(" * 250 + ")" * 250,
        "*".join(["10 ** 4000"] * 30),
    ],
)
def test_what_is_not_bounded_arithmetic_is_refused_in_words(expression: str) -> None:
    with pytest.raises(ToolError) as refusal:
        calculate(expression)
    assert str(refusal.value)
