"""What has one gate: the module that alone makes the type which nothing passes without."""

from __future__ import annotations

import ast

from tests.architecture.sources import PACKAGE, modules

# The type, and the one module that may make it.
GATES = {
    "Approved": "tools/base.py",
    "Outbound": "session/outbound.py",
    "VisibleVariables": "tools/hiding.py",
    "CacheKey": "session/answer_cache.py",
    "CheckedPath": "tools/file_access.py",
    "SafeHtml": "rendering/sanitize.py",
    "VisibleText": "rendering/sanitize.py",
}


def test_each_gated_type_is_made_in_one_module() -> None:
    for path in modules():
        tree = ast.parse((PACKAGE / path).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert GATES.get(node.func.id) in {None, path.as_posix()}, f"{path}:{node.lineno}"
