"""Budgets and boundaries that no linter of ours knows: sizes, tenant scoping, broad excepts, log calls.

Run by `make check`. Prints one line for each breach and ends with 1 when there is one.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE_LINES = 400
FUNCTION_LINES = 60
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical"}

# The one door to tenant rows.
SCOPING = {"libs/db/src/kasal_db/tenancy.py"}
# A broad except stands at a boundary that must outlive what it calls, and says so.
BOUNDARIES = {
    "libs/bus/src/kasal_bus/consumer.py",
    "libs/runtime/src/kasal_runtime/boundary.py",
    "services/executor/src/kasal_executor/child/main.py",
    "services/executor/src/kasal_executor/worker/broker.py",
}


def sources() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.split() if (ROOT / name).is_file()]


def breaches(path: Path) -> Iterator[str]:
    name = path.relative_to(ROOT).as_posix()
    text = path.read_text()
    tree = ast.parse(text)
    is_test = "/tests/" in f"/{name}"
    lines = text.count("\n")
    if lines > FILE_LINES:
        yield f"{name}: {lines} lines; a file has at most {FILE_LINES}"
    for node in ast.walk(tree):
        yield from (f"{name}:{getattr(node, 'lineno', 1)}: {found}" for found in _breaches_of(node, name, is_test))


def _breaches_of(node: ast.AST, name: str, is_test: bool) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > FUNCTION_LINES and "/migrations/" not in name:
            yield f"{node.name} has {length} lines; a function has at most {FUNCTION_LINES}"
    if is_test:
        return
    if isinstance(node, ast.ExceptHandler) and _is_broad(node) and name not in BOUNDARIES:
        yield "a broad except belongs at the boundaries alone"
    if isinstance(node, ast.Compare) and name not in SCOPING and _compares_tenant_rows(node):
        yield "only `owned` compares group_id"
    if isinstance(node, ast.Call) and _is_formatted_log(node):
        yield "a log call takes an event name and fields, not a formatted string"


def _is_broad(handler: ast.ExceptHandler) -> bool:
    """Catches everything and goes on; what is raised anew is not swallowed."""
    if handler.type is None:
        return True
    if isinstance(handler.body[-1], ast.Raise):
        return False
    names = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(item, ast.Name) and item.id in {"Exception", "BaseException"} for item in names)


def _compares_tenant_rows(node: ast.Compare) -> bool:
    """`Table.group_id == …` in a query: the left side is an attribute of a class, by its capital letter."""
    sides = [node.left, *node.comparators]
    return any(
        isinstance(side, ast.Attribute)
        and side.attr == "group_id"
        and isinstance(side.value, ast.Name)
        and side.value.id[:1].isupper()
        for side in sides
    )


def _is_formatted_log(node: ast.Call) -> bool:
    return (
        isinstance(node.func, ast.Attribute)
        and node.func.attr in LOG_METHODS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"log", "logger"}
        and bool(node.args)
        and isinstance(node.args[0], ast.JoinedStr)
    )


def main() -> int:
    found = [breach for path in sources() for breach in breaches(path)]
    for breach in found:
        print(breach)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
