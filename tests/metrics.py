"""Size and structure of the code: ``python -m tests.metrics [checkout]``.

Sizes, import levels, cycles and Protocols are read from the sources of a checkout (by default this one). The modules
that a cell enters and the depth of async iterators are measured by running a cell of this checkout on the simulator.
"""

from __future__ import annotations

import ast
import os
import sys
import tempfile
import threading
from collections import defaultdict
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache, cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.tiers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SMALL = 40
ASYNC_GENERATOR = 0x200  # inspect.CO_ASYNC_GENERATOR
UNSIZED = ("__init__", "__main__")


@dataclass(frozen=True)
class Sources:
    """The package of one checkout."""

    root: Path

    @cached_property
    def modules(self) -> dict[str, Path]:
        """Every module by its dotted name."""
        found = {}
        for path in sorted((self.root / "codex_nb").rglob("*.py")):
            name = ".".join(path.relative_to(self.root).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
        return found

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        """Every module's syntax tree."""
        return {name: ast.parse(path.read_text()) for name, path in self.modules.items()}

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """What each module imports of the package, including imports for type checking and inside functions."""
        found: dict[str, set[str]] = {name: set() for name in self.modules}
        for name, tree in self.trees.items():
            for node in ast.walk(tree):
                found[name] |= {target for target in self._imported(node) if target != name}
        return found

    def _imported(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in self.modules)
        elif isinstance(node, ast.ImportFrom) and node.module in self.modules:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in self.modules else node.module

    def side(self, *, simulator: bool) -> dict[str, Path]:
        """The modules of the simulator, or all others."""
        return {
            name: path
            for name, path in self.modules.items()
            if name.startswith("codex_nb.simulator") is simulator
        }


def lines(path: Path) -> int:
    """Count a file's lines."""
    return len(path.read_text().splitlines())


def cycles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for target in sorted(imports[name]):
            if target not in order:
                visit(target)
            if target in stack:
                low[name] = min(low[name], low[target])
        if low[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(imports):
        if name not in order:
            visit(name)
    return found


def levels(imports: dict[str, set[str]]) -> int:
    """Return the longest chain of packages and top-level modules that import each other."""
    packages: dict[str, set[str]] = defaultdict(set)
    for name, targets in imports.items():
        packages[package_of(name)] |= {package_of(target) for target in targets} - {package_of(name)}

    @cache
    def level(name: str, above: frozenset[str] = frozenset()) -> int:
        below = packages[name] - above
        return 1 + max((level(target, above | {name}) for target in below), default=0)

    return max(level(name) for name in list(packages))


def package_of(name: str) -> str:
    """Return the package or top-level module of a module."""
    return ".".join(name.split(".")[:2])


def protocols(trees: dict[str, ast.Module]) -> dict[str, int]:
    """Count, for each Protocol with methods, the classes of the package that have all of its methods."""
    shapes: dict[str, set[str]] = {}
    classes: list[set[str]] = []
    for tree in trees.values():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef):
                continue
            members = {
                item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
            }
            members |= {
                item.target.id
                for item in node.body
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            }
            if any("Protocol" in ast.unparse(base) for base in node.bases):
                shapes[node.name] = members
            else:
                classes.append(members)
    return {name: sum(shape <= own for own in classes) for name, shape in shapes.items() if shape}


def assertions(root: Path) -> int:
    """Count the assertions of the tests: ``assert``, expected exceptions and warnings, calls of assert helpers."""
    count = 0
    for path in (root / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assert):
                count += 1
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                count += called in {"pytest.raises", "pytest.warns"} or called.rpartition(".")[2].startswith(
                    "assert_"
                )
    return count


class Trace:
    """Records, while it is on, the modules that are entered and the deepest nesting of async iterators."""

    def __init__(self) -> None:
        self.on = False
        self.entered: set[str] = set()
        self.nested: list[str] = []

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Record a profile event."""
        del argument
        if not self.on or event != "call" or "/codex_nb/" not in frame.f_code.co_filename:
            return
        if "/simulator/" in frame.f_code.co_filename:
            return
        self.entered.add(frame.f_code.co_filename.rpartition("/codex_nb/")[2])
        nest = list(iterators(frame))
        if len(nest) > len(self.nested):
            self.nested = nest


def iterators(frame: FrameType | None) -> Iterator[str]:
    """Yield the async iterators of the package that a frame runs in, innermost first."""
    while frame is not None:
        code = frame.f_code
        if "/codex_nb/" in code.co_filename and (
            code.co_flags & ASYNC_GENERATOR or code.co_name in {"__anext__", "anext"}
        ):
            yield code.co_qualname
        frame = frame.f_back


def trace_warm_cell() -> Trace:
    """Run two trivial cells on the simulator and trace the second."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    from codex_nb.simulator import Simulator

    trace = Trace()
    threading.setprofile(trace)
    with Simulator() as simulator, tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "codex-home"
        home.mkdir(mode=0o700)
        (home / "config.toml").write_text(simulator.config_toml())
        simulator.write_login(home)
        os.environ.update(simulator.environ() | {"CODEX_HOME": str(home)})
        shell = InteractiveShell(
            config=Config({"HistoryManager": {"enabled": False}}), ipython_dir=str(Path(folder) / "ipython")
        )
        with redirect_stdout(StringIO()):
            shell.run_line_magic("load_ext", "codex_nb")
            shell.run_cell("%%codex\nSay one word.")
            sys.setprofile(trace)
            trace.on = True
            shell.run_cell("%%codex\nSay another word.")
            trace.on = False
            sys.setprofile(None)
            shell.run_line_magic("unload_ext", "codex_nb")
    threading.setprofile(None)
    return trace


def rows(root: Path) -> Iterator[tuple[str, str]]:
    """Yield each figure of a checkout."""
    sources = Sources(root)
    client, simulator = sources.side(simulator=False), sources.side(simulator=True)
    small = [name for name, path in client.items() if lines(path) < SMALL and path.stem not in UNSIZED]
    yield "client modules", str(len(client))
    yield "simulator modules", str(len(simulator))
    yield f"client modules under {SMALL} lines", f"{len(small)} {' '.join(small)}"
    yield "client lines", str(sum(map(lines, client.values())))
    yield "simulator lines", str(sum(map(lines, simulator.values())))
    yield "import levels", str(levels(sources.imports))
    groups = cycles(sources.imports)
    yield "import cycles", f"{len(groups)} {'; '.join(' '.join(group) for group in groups)[:300]}"
    counted = protocols(sources.trees)
    single = sorted(name for name, count in counted.items() if count <= 1)
    yield "Protocols", str(len(counted))
    yield "Protocols with one implementation", f"{len(single)} {' '.join(single)}"
    yield "behaviour assertions", str(assertions(root))
    if root == ROOT:
        trace = trace_warm_cell()
        yield "modules that a warm trivial cell enters", str(len(trace.entered))
        yield "nested async iterators of a delta", f"{len(trace.nested)} {' < '.join(trace.nested)}"


def main(arguments: list[str]) -> int:
    """Print the table."""
    for name, value in rows(Path(arguments[0]).resolve() if arguments else ROOT):
        print(f"{name:<42} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
