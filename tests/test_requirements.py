"""Imported packages are declared, and the pins agree with each other."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import DEMOS, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
SPACES = [*DEMOS, "gallery"]
OURS = {path.stem if path.is_file() else path.name for path in ROOT.iterdir()}
NAMES = {"sklearn": "scikit-learn", "skimage": "scikit-image"}  # where they are not installed
GUARDED = {"spaces"}  # ZeroGPU's package, which is there on its hardware alone


def read_pins(name: str) -> list[str]:
    return (ROOT / "spaces" / name / "requirements.txt").read_text().split()


def read_extras(*names: str) -> list[str]:
    """Return the requirements of the project and these extras."""
    return [*read_pins("gallery"), *(line for name in names for line in EXTRAS[name])]


def read_names(lines: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines}


def find_imports(path: Path, when_called: bool = True) -> Iterator[str]:
    """Return the modules a file imports; without `when_called`, only those at import time."""

    def walk(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and not child.level:
                yield child.module
            elif isinstance(child, ast.Call) and ast.unparse(child.func) == "pytest.importorskip":
                yield ast.literal_eval(child.args[0])
            is_put_off = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            is_for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            if when_called or not (is_put_off or is_for_types):
                yield from walk(child)

    for module in walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = module.split(".")[0]
        if name not in sys.stdlib_module_names and name not in GUARDED:
            yield name


def find_distributions(*patterns: str, when_called: bool = True) -> dict[str, set[str]]:
    """Return the distributions that files import, with the files."""
    found: dict[str, set[str]] = {}
    installed = packages_distributions()
    for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
        for module in set(find_imports(path, when_called)) - OURS:
            (name,) = set(installed.get(module, [NAMES.get(module, module)]))
            found.setdefault(canonicalize_name(name), set()).add(str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize("space", SPACES)
def test_a_space_imports_nothing_of_ours_but_shared(space):
    """A staged Space has shared/ beside its app.py, and neither training nor hub."""
    files = [*(ROOT / "spaces" / space).rglob("*.py")]
    assert ROOT / f"spaces/{space}/app.py" in files
    assert {name for path in files for name in find_imports(path)} & OURS == {"shared"}


OWN = {  # what a Space needs of shared/ beside what all need
    "cat_dog": ("image_classifier",),
    "segmentation": ("image_segmenter",),
    "sentiment": ("text_classifier", "tokens"),
    "salary": ("tabular",),
    "rating": ("recommender",),
    "gallery": ("image_classifier", "image_segmenter", "text_classifier", "tokens", "tabular", "recommender"),
}


@pytest.mark.parametrize("space", SPACES)
def test_a_space_declares_what_it_imports_and_no_more(space):
    folder = "*" if space == "gallery" else space
    wanted = find_distributions("shared/**/*.py", when_called=False)
    wanted |= find_distributions(f"spaces/{folder}/*.py", *(f"shared/{name}.py" for name in OWN[space]))
    others = {f"shared/{name}.py" for name in OWN["gallery"]}  # what they import when called is theirs
    common = [str(path.relative_to(ROOT)) for path in ROOT.glob("shared/**/*.py")]
    wanted |= find_distributions(*(path for path in common if path not in others))
    assert read_names(read_pins(space)) == set(wanted), wanted


@pytest.mark.parametrize(
    ("patterns", "declared"),
    [
        (["shared/**/*.py"], read_extras()),
        (["spaces/*.py", "hub/**/*.py"], read_extras("deploy", "browser")),
        (["training/**/*.py"], [*read_extras("training"), "pyarrow"]),  # only to read Parquet; the message says so
        (["benchmarks/*.py"], read_extras("training", "browser", "scale")),
        (["examples/*.py"], read_extras("scale")),
        (["tests/**/*.py"], read_extras("test", "training", "scale", "browser", "mcp", "docs", "notebooks")),
    ],
)
def test_imported_packages_are_declared(patterns, declared):
    found = find_distributions(*patterns)
    assert found
    undeclared = {name: files for name, files in found.items() if name not in read_names(declared)}
    assert not undeclared


EXACT = [name for name in EXTRAS if name != "ui"]  # which is for other people's projects, in ranges
EVERY = sorted({*read_extras(*EXACT), *(line for space in SPACES for line in read_pins(space))})


def test_everything_is_pinned_once():
    assert all(re.fullmatch(r"[\w.-]+(\[\w+\])?==[\w.]+", line) for line in EVERY)
    assert len(read_names(EVERY)) == len(EVERY)


def is_installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


@pytest.mark.parametrize("line", EVERY)
def test_a_pin_is_the_installed_version_and_within_the_ranges(line):
    pin = Requirement(line)
    if not is_installed(pin.name):
        pytest.skip(f"{pin.name} is not installed")
    assert pin.specifier.contains(version(pin.name))
    pinned = {canonicalize_name(Requirement(other).name): Requirement(other) for other in EVERY}
    extra = "mcp" if pin.name == "gradio" else ""  # which the Hub adds on a Space
    for text in requires(pin.name) or []:
        bound = Requirement(text)
        name = canonicalize_name(bound.name)
        if name in pinned and (bound.marker is None or bound.marker.evaluate({"extra": extra})):
            (own,) = pinned[name].specifier
            assert bound.specifier.contains(own.version), f"{line} needs {text}"
