"""The walls between the rooms: which packages may import which, read from the source of every module."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from runners.catalog import PROJECT_ROOT

FAMILIES = sorted(path.parent.name for path in (PROJECT_ROOT / "runners").glob("*/runner.py"))


def imports(package: str) -> Iterator[tuple[str, str]]:
    """(module, what it imports) for every import below a package, wherever it stands: at the top, in a function,
    for the type checker alone. Names are full: ``from runners import logs`` imports ``runners.logs``.
    """
    for path in sorted((PROJECT_ROOT / package.replace(".", "/")).rglob("*.py")):
        module = ".".join(path.relative_to(PROJECT_ROOT).with_suffix("").parts).removesuffix(".__init__")
        for name in imported(path, package=module if path.name == "__init__.py" else module.rpartition(".")[0]):
            yield module, name


def imported(path: Path, package: str) -> Iterator[str]:
    """What the module at ``path``, which lies in ``package``, imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{source}.{alias.name}" for alias in node.names)


def lies_in(name: str, *packages: str) -> bool:
    """Whether a full name is one of ``packages``, or of something in them."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        "import a.b as c\nif TYPE_CHECKING: from d import e\ndef f():\n    from . import g\n    from ..h import i\n"
    )
    assert set(imported(tmp_path / "module.py", package="x.y")) == {"a.b", "d.e", "x.y.g", "x.h.i"}


def test_no_family_imports_another() -> None:
    assert {"paraformer", "qwen3"} < set(FAMILIES)
    for family in FAMILIES:
        others = [f"runners.{other}" for other in FAMILIES if other != family]
        assert [found for found in imports(f"runners.{family}") if lies_in(found[1], *others)] == []


def test_what_several_families_use_knows_none_of_them() -> None:
    families = [f"runners.{family}" for family in FAMILIES]
    assert [found for found in imports("runners.kit") if lies_in(found[1], *families, "runners.families")] == []
