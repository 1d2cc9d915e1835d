"""The walls between the rooms: which packages may import which, read from the source of every module."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from runners.catalog import PROJECT_ROOT

VENDORS = sorted({path.parent.name for path in (PROJECT_ROOT / "service/protocols").glob("*/*_request.py")})
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


def breaches(room: str, *forbidden: str) -> list[tuple[str, str]]:
    """(module, import) for every module of a room that imports what it must not."""
    return [found for found in imports(room) if lies_in(found[1], *forbidden)]


def is_package(name: str) -> bool:
    """Whether a full name is a folder's."""
    return (PROJECT_ROOT / name.replace(".", "/") / "__init__.py").is_file()


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        "import a.b as c\nif TYPE_CHECKING: from d import e\ndef f():\n    from . import g\n    from ..h import i\n"
    )
    assert set(imported(tmp_path / "module.py", package="x.y")) == {"a.b", "d.e", "x.y.g", "x.h.i"}


def test_no_family_imports_another() -> None:
    assert {"paraformer", "qwen3"} < set(FAMILIES)
    for family in FAMILIES:
        others = [f"runners.{other}" for other in FAMILIES if other != family]
        assert breaches(f"runners.{family}", *others) == []


def test_what_several_families_use_knows_none_of_them() -> None:
    families = [f"runners.{family}" for family in FAMILIES]
    assert breaches("runners.kit", *families, "runners.families") == []


def test_runners_know_nothing_of_the_service() -> None:
    assert breaches("runners", "service") == []


def test_protocols_know_nothing_of_engines() -> None:
    kit = ("runners.kit", *(f"runners.{family}" for family in FAMILIES))
    assert breaches("service.protocols", "torch", "funasr", "vllm", "qwen_asr", "transformers", *kit) == []


def test_no_vendors_protocols_import_anothers() -> None:
    assert {"openai", "aliyun", "dashscope", "funasr", "qwen"} <= set(VENDORS)
    for vendor in VENDORS:
        others = [f"service.protocols.{other}" for other in VENDORS if other != vendor]
        assert breaches(f"service.protocols.{vendor}", *others) == []
    assert breaches("service.protocols.shared", *(f"service.protocols.{vendor}" for vendor in VENDORS)) == []


def test_recordings_and_live_sessions_stand_side_by_side() -> None:
    assert breaches("service.recordings", "service.live") == []
    assert breaches("service.live", "service.recordings") == []


def test_no_arrow_runs_back_up() -> None:
    above = ("service.protocols", "service.pages", "service.app", "service.api", "service.edge", "service.serving")
    rooms = ("service.recordings", "service.live", "service.intake")
    for room in ("service.recordings", "service.live"):
        assert breaches(room, *above, "service.intake") == []
    assert breaches("service.jobs", *above, "service.live") == []
    for room in ("service.audio", "service.text"):
        assert breaches(room, *above, *rooms) == []
    assert breaches("service.intake", "service.protocols", "service.pages", "service.app", "service.live") == []
    assert breaches("service.pages", "service.protocols") == []


def test_no_module_imports_itself_in_a_circle() -> None:
    modules = {module for package in ("service", "runners", "scripts") for module, _ in imports(package)}
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for package in ("service", "runners", "scripts"):
        for module, name in imports(package):
            target = name if name in modules else name.rpartition(".")[0]
            # a package's __init__ is left out: it is imported with whatever lies in it
            if target in modules and target != module and not is_package(target) and not is_package(module):
                graph[module].add(target)
    while free := {module for module, targets in graph.items() if not targets}:
        graph = {module: targets - free for module, targets in graph.items() if module not in free}
    assert {module: sorted(targets & graph.keys()) for module, targets in graph.items()} == {}
