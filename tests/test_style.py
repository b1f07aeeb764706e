"""Style: sizes, docstrings in one dialect, and plain terms; CONTRIBUTING.md states the rules."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "rate"

MOST_COLUMNS = 100
MOST_LINES = 60
"""Most lines of a function, its docstring counted."""
MOST_PARAMETERS = 8
"""Most parameters of a function, `self` and `cls` not counted; `*names` and `**names` count one
each."""
MOST_LINES_OF_A_FILE = 400

SECTIONS = ("Args", "Returns", "Yields", "Raises", "Attributes")
BANNED_WORDS = {
    r"(?<!start )\brooms?\b(?! for)": "package, or space",
    r"\bthe (second |first )?house\b": "the library, or its layout",
    r"\bhand(s|ed|ing)? over\b|\bhand-overs?\b": "carry, or pass on",
    r"\btold\b(?! apart)": "name the operation: given, described, derived",
    r"\bdiary\b": "log",
    r"\bWishes\b": "ImportOptions",
    r"\bway_on\b": "how_to_continue",
    r"\bshare of right actions\b": "action accuracy",
    r"\bdata of others\b": "recorded data",
    r"\benvironments of others\b": "third-party environments",
}
"""Words that the library does not use (regular expressions), and what it says instead."""
BANNED_NAMES = {
    "following": "next_observation",
    "bellman": "td_target",
    "wanted": "a name that says what it is",
    "told": "describe_error",
    "thread_count": "threads",
    "parallel": "num_envs",
}
"""Names that code does not use for a parameter, a field, a function or a variable."""
ELSEWHERE = [r"/wor[k]/", r"\bshare[d]/", r"(?<!scope=\")\b[Ss]ession[s]?\b", r"/tm[p]/"]
"""What would point out of the repository."""

PYTHON = {
    path: ast.parse(path.read_text(encoding="utf-8"))
    for folder in (SOURCE, ROOT / "tests", ROOT / "benchmarks")
    for path in sorted(folder.rglob("*.py"))
}
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | Function


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def files(*folders: Path) -> pytest.MarkDecorator:
    chosen = [path for path in PYTHON if any(folder in path.parents for folder in folders)]
    return pytest.mark.parametrize("path", chosen, ids=label)


every_file = files(ROOT)
every_source = files(SOURCE)


def functions(path: Path) -> list[Function]:
    return [node for node in ast.walk(PYTHON[path]) if isinstance(node, Function)]


def parameters(function: Function) -> list[str]:
    """Names of the parameters of a function, without `self` and `cls`."""
    given = function.args
    positional = [item.arg for item in (*given.posonlyargs, *given.args)]
    if positional[:1] in (["self"], ["cls"]):
        del positional[0]
    rest = [item.arg for item in (given.vararg, *given.kwonlyargs, given.kwarg) if item]
    return positional + rest


def docstrings(path: Path) -> Iterator[tuple[Documented, str]]:
    for node in ast.walk(PYTHON[path]):
        if isinstance(node, Documented) and (text := ast.get_docstring(node)):
            yield node, text


def fields(node: ast.ClassDef) -> list[str]:
    """Names that are annotated in the body of a class."""
    annotated = [item for item in node.body if isinstance(item, ast.AnnAssign)]
    return [item.target.id for item in annotated if isinstance(item.target, ast.Name)]


def documented_names(node: Documented) -> list[str]:
    """Parameters of a function; fields of a class and parameters of its `__init__`."""
    if isinstance(node, ast.Module):
        return []
    if isinstance(node, Function):
        return parameters(node)
    methods = [item for item in node.body if isinstance(item, Function)]
    made = [name for item in methods if item.name == "__init__" for name in parameters(item)]
    return [*fields(node), *made]


def is_record(node: ast.ClassDef) -> bool:
    """Whether a class is a dataclass or a NamedTuple, whose fields have attribute docstrings."""
    words = [ast.unparse(part) for part in (*node.decorator_list, *node.bases)]
    return any(re.search(r"\b(dataclass|NamedTuple)\b", word) for word in words)


def sections(text: str) -> dict[str, list[str]]:
    """Lines of a docstring by section; those before the first section are under the empty name."""
    current, result = "", {"": []}
    for line in text.splitlines():
        match = re.fullmatch(r"(\w+):", line)
        if match and match[1] in SECTIONS:
            current = match[1]
            result[current] = []
        else:
            result[current].append(line)
    return result


def entries(lines: list[str]) -> list[str]:
    """Names that the lines of an `Args:` section explain."""
    matches = [re.match(r"    \*{0,2}(\w+):", line) for line in lines]
    return [match[1] for match in matches if match]


# Sizes


@every_file
def test_lines_have_at_most_100_columns(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    long = [number for number, line in enumerate(lines, 1) if len(line) > MOST_COLUMNS]
    assert not long, f"lines {long} have more than {MOST_COLUMNS} columns"


@every_file
def test_functions_fit_a_screen(path):
    sizes = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions(path)}
    long = {name: size for name, size in sizes.items() if size > MOST_LINES}
    assert not long, f"functions of more than {MOST_LINES} lines: {long}"


@every_file
def test_functions_have_few_parameters(path):
    counts = {node.name: len(parameters(node)) for node in functions(path)}
    many = {name: count for name, count in counts.items() if count > MOST_PARAMETERS}
    assert not many, f"functions of more than {MOST_PARAMETERS} parameters: {many}"


@every_source
def test_files_are_small_and_finished(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES_OF_A_FILE, f"{len(lines)} lines"
    assert not [line for line in lines if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line)]


# Docstrings


@every_file
def test_code_in_docstrings_is_between_single_backticks(path):
    strings = [
        node.value.value
        for node in ast.walk(PYTHON[path])
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    assert not [text for text in strings if re.search(r"(?<!`)``(?!`)", text)]


@every_source
def test_parameters_are_explained_one_by_one(path):
    """A name with a colon begins an entry of a section, never a sentence of running text."""
    for node, text in docstrings(path):
        names = documented_names(node)
        for section, lines in sections(text).items():
            # An entry is indented by four columns; its continuation by more.
            plain = [
                line if not section else re.sub(r"^ {4}\*{0,2}\w+:", "", line) for line in lines
            ]
            found = re.findall(
                r"(?:^|[.;] |\n *)(\w+): ", " ".join(plain) if section else "\n".join(plain)
            )
            running = [name for name in found if name in names]
            assert not running, (
                f"{getattr(node, 'name', 'module')} explains {running} in running text"
            )


@every_source
def test_sections_name_parameters_that_exist(path):
    for node, text in docstrings(path):
        found = sections(text)
        names = documented_names(node)
        unknown = [name for name in entries(found.get("Args", [])) if name not in names]
        assert not unknown, f"{getattr(node, 'name', 'module')} has no parameters {unknown}"


@every_source
def test_fields_have_attribute_docstrings(path):
    for node, text in docstrings(path):
        if isinstance(node, ast.ClassDef) and is_record(node):
            found = {"Args", "Attributes"} & sections(text).keys()
            assert not found, f"{node.name} explains its fields under {found}"


# Terms


def require_none(patterns: dict[str, str], path: Path) -> None:
    """Fail with the lines of a file that match a pattern, and what to write instead."""
    lines = path.read_text(encoding="utf-8").splitlines()
    matches = [
        f"line {number}: {line.strip()} (better: {better})"
        for number, line in enumerate(lines, 1)
        for pattern, better in patterns.items()
        if re.search(pattern, line)
    ]
    if matches:
        pytest.fail("\n".join(matches), pytrace=False)


@pytest.mark.parametrize(
    "path", [*(path for path in PYTHON if SOURCE in path.parents), *PAGES], ids=label
)
def test_terms_are_those_of_the_field(path):
    require_none(BANNED_WORDS, path)


@every_source
def test_names_are_those_of_the_field(path):
    names = set()
    for node in ast.walk(PYTHON[path]):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg | ast.keyword):
            names.add(node.arg)
        elif isinstance(node, ast.ClassDef | Function):
            names.add(node.name)
    assert not {name: BANNED_NAMES[name] for name in names & BANNED_NAMES.keys()}


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "log"], ids=label)
def test_files_that_a_page_names_exist(page):
    """Paths between backticks, from the root of the repository or from the package; the log is
    history."""
    starts = {path.name for folder in (ROOT, SOURCE) for path in folder.iterdir() if path.is_dir()}
    paths = re.findall(r"`([\w./-]+\.(?:py|md)|[\w/-]+/)`", page.read_text(encoding="utf-8"))
    named = {path for path in paths if "/" in path and path.split("/")[0] in starts}
    assert not {
        path for path in named if not any((root / path).exists() for root in (ROOT, SOURCE))
    }


@pytest.mark.parametrize("path", [*PYTHON, *PAGES], ids=label)
def test_nothing_points_out_of_the_repository(path):
    require_none(dict.fromkeys(ELSEWHERE, "nothing"), path)
