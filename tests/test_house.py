"""How the sources are laid out: imports in one direction, private names at home, short functions.

Lists named ``..._TODAY`` hold what does not fit yet. An entry that fits by now fails its test too,
so that the lists only get shorter.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src" / "fracstride").rglob("*.py"))
NATIVE = sorted(path for path in (ROOT / "native").glob("*") if path.suffix in (".hpp", ".cpp"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
LONGEST_FUNCTION = 80
LONGEST_FILE = 400

# Files with one subject that need more lines, and why.
LONG_FILES: dict[str, str] = {}
LONG_FILES_TODAY: set[str] = set()
LONG_FUNCTIONS_TODAY: set[str] = set()
CYCLES_TODAY: set[frozenset[str]] = set()
PRIVATE_NAMES_TODAY: set[str] = set()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {module_name(path): ast.parse(path.read_text("utf-8")) for path in SOURCES}


# --- imports ------------------------------------------------------------------------------------


def imports(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    """The module, the name in it (or ""), and the name here, of each import of our own.

    Wherever it stands: in a function and below TYPE_CHECKING too.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, "", alias.asname or alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield str(node.module), alias.name, alias.asname or alias.name
        elif (
            isinstance(node, ast.Call)
            and "import_module" in ast.unparse(node.func)
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value), "", ""


def imported_modules(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    """As :func:`imports`, with a name that is a module given as that module."""
    for module, name, here in imports(tree):
        if module.partition(".")[0] != "fracstride":
            continue
        inner = f"{module}.{name}"
        if inner in TREES or inner == "fracstride._native":
            yield inner, "", here
        else:
            yield module, name, here


def cycles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """The sets of modules that import each other, directly or not."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        stack = list(graph[start])
        while stack:
            module = stack.pop()
            if module not in seen:
                seen.add(module)
                stack += graph.get(module, ())
        reached[start] = seen
    return {
        frozenset({m for m in reached[start] if start in reached.get(m, ())} | {start})
        for start in graph
        if start in reached[start]
    }


def test_no_import_leads_back() -> None:
    graph = {
        module: {imported for imported, _, _ in imported_modules(tree)}
        for module, tree in TREES.items()
    }
    assert cycles(graph) == CYCLES_TODAY


def test_cycles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"e"}}
    assert cycles(graph) == {frozenset("abc"), frozenset("e")}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_private_names_stay_in_their_file() -> None:
    found = set()
    for module, tree in TREES.items():
        modules = {}
        for imported, name, here in imported_modules(tree):
            if private(name):
                found.add(f"{module} imports {imported}.{name}")
            if not name:
                modules[here] = imported
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and private(node.attr):
                owner = modules.get(ast.unparse(node.value))
                if owner is not None:
                    found.add(f"{module} uses {owner}.{node.attr}")
    assert found == PRIVATE_NAMES_TODAY


# --- sizes --------------------------------------------------------------------------------------


def python_functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function and its lines, decorators and docstring apart."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = int(node.end_lineno or 0) - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                lines -= int(first.end_lineno or 0) - first.lineno + 1
            yield node.name, lines


def without_text(source: str) -> str:
    """C++ with comments, strings and preprocessor lines blanked; lines stay lines."""
    comments, strings = r"//[^\n]*|/\*.*?\*/", r'"(?:\\.|[^"\\\n])*"'
    characters, directives = r"'(?:\\.|[^'\\\n])'", r"^[ ]*#(?:[^\n]*\\\n)*[^\n]*"
    pattern = "|".join([comments, strings, characters, directives])
    blank = re.compile(pattern, re.DOTALL | re.MULTILINE)
    return blank.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), source)


def cpp_functions(source: str) -> Iterator[tuple[str, int]]:
    """Each function that is in no other one, and its lines, those of its signature included."""
    text = without_text(source)
    stack: list[tuple[str, str, int]] = []  # kind, name, first line
    header = 0  # where the text before the next brace begins
    for at, character in enumerate(text):
        if character == "{":
            before = text[header:at]
            line = text.count("\n", 0, at - len(before.lstrip())) + 1
            bare = re.sub(r"template\s*<[^{}]*?>\s*(?=\w)", "", before)
            name = re.search(r"([~\w]+|operator\W+)\s*\(", bare)
            if any(kind == "function" for kind, _, _ in stack):
                kind = "block"
            elif re.search(r"\b(namespace|struct|class|union|enum|extern)\b", bare) and (
                "(" not in bare
            ):
                kind = "scope"
            else:
                kind = "function" if name and "=" not in bare.partition("(")[0] else "value"
            stack.append((kind, name[1] if name else "", line))
            header = at + 1
        elif character == "}":
            kind, title, first = stack.pop()
            if kind == "function":
                yield title, text.count("\n", 0, at) + 2 - first
            header = at + 1
        elif character == ";":
            header = at + 1
    assert not stack


def functions() -> Iterator[tuple[str, int]]:
    for path in (*SOURCES, *BENCHMARKS):
        for name, lines in python_functions(path):
            yield f"{path.relative_to(ROOT).as_posix()}: {name}", lines
    for path in NATIVE:
        for name, lines in cpp_functions(path.read_text("utf-8")):
            yield f"{path.relative_to(ROOT).as_posix()}: {name}", lines


def test_functions_are_short() -> None:
    long = {name for name, lines in functions() if lines > LONGEST_FUNCTION}
    assert long == LONG_FUNCTIONS_TODAY


def test_functions_are_measured() -> None:
    source = """
    // a comment with a { brace
    namespace fracstride {
    template <class T>
    T first(T a,
            T b) {
      if (a) { return "}"; }
      return b;
    }
    struct S {
      S() : a{1} {}
      int second() const { return 0; }
    };
    constexpr int table[] = {1, 2};
    }  // namespace fracstride
    """
    assert dict(cpp_functions(source)) == {"first": 6, "S": 1, "second": 1}


def test_files_are_short() -> None:
    long = {
        path.relative_to(ROOT).as_posix()
        for path in (*SOURCES, *BENCHMARKS, *NATIVE)
        if len(path.read_text("utf-8").splitlines()) > LONGEST_FILE
    }
    assert long == LONG_FILES_TODAY | LONG_FILES.keys()


def test_long_files_have_a_reason() -> None:
    for name, reason in LONG_FILES.items():
        assert len(reason.split()) >= 5, name


# --- the map ------------------------------------------------------------------------------------


def test_contributing_names_every_file() -> None:
    """Of the packages that hold files of several subjects; the others are named as folders."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named = set()
    for row in re.findall(r"^\| (`src/.*?) \|", text, re.MULTILINE):
        first, *others = re.findall(r"`(.*?)`", row)
        folder = first.rpartition("/")[0]
        named |= {first, *(f"{folder}/{name}" for name in others)}
    source = ROOT / "src" / "fracstride"
    folders = [source, source / "torch", source / "jax"]
    paths = {
        path.relative_to(ROOT).as_posix() + "/" * path.is_dir()
        for folder in folders
        for path in folder.iterdir()
        if (path.is_dir() or path.suffix == ".py") and not path.name.startswith("_")
    }
    assert named == paths - {"src/fracstride/torch/", "src/fracstride/jax/"}
