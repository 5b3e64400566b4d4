"""What our code uses of the Hub's client, ONNX Runtime, fastai and transformers is as it was when last reviewed.

The names, and the arguments of each call, are found in our sources, so that no list of them can grow old. An upgrade
fails here first, in seconds. For each name that fails: read what has changed, look at the places that the test names,
and then write the new state:

    python -m tests.test_used_apis
"""

import ast
import enum
import functools
import importlib.util
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import training  # noqa: F401 - so that torchvision loads beside a torch for CPUs
from tests.conftest import ROOT, SKIPPED

LIGHT = ("huggingface_hub", "onnxruntime")  # `make test` has them, too
PACKAGES = (*LIGHT, "fastai", "transformers")
FOLDERS = ("shared", "training", "hub", "spaces", "benchmarks")
REVIEWED = Path(__file__).with_name("used_apis.json")
NEEDS = {"onnxruntime.quantization": "onnx"}  # what a module needs beside its package
WRITE = "then run: python -m tests.test_used_apis"
UNKNOWN = None  # what __init__ or __getattr__ makes
EACH_PACKAGE = pytest.mark.parametrize(
    "package", [name if name in LIGHT else pytest.param(name, marks=pytest.mark.training) for name in PACKAGES]
)
EVENT = re.compile("(before|after)_")  # methods of a Callback that fastai calls


@dataclass
class Call:
    """A call: its place, the number of its arguments, and the names of those with names."""

    place: str
    count: int
    names: list[str]
    is_whole: bool  # false if it has *arguments, or is only a part, as in functools.partial


@dataclass
class Used:
    """Where one name of another package is used, and how it is called."""

    places: set[str] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)


class Finder(ast.NodeVisitor):
    """Find the names of other packages that a file uses, also by variables whose class is known."""

    def __init__(self, path: Path, used: dict[str, Used], events: dict[str, set[str]]) -> None:
        self.path, self.used, self.events = path.relative_to(ROOT).as_posix(), used, events
        self.aliases: dict[str, str] = {}
        self.classes: list[dict[str, str]] = [{}]  # of the variables in each function around this place

    def resolve(self, node: ast.AST | None) -> str | None:
        """The full name of what an expression stands for: "huggingface_hub.HfApi.create_repo", or None."""
        if isinstance(node, ast.Name):
            known = next((found[node.id] for found in reversed(self.classes) if node.id in found), None)
            return known or self.aliases.get(node.id)
        if isinstance(node, ast.Attribute):
            place = self.resolve(node.value)
            if place is None or is_class_name(place.rpartition(".")[0]):  # what an object's attribute has is unknown
                return None
            return f"{place}.{node.attr}"
        if isinstance(node, ast.Call) and (made := self.resolve(node.func)):
            return made if is_class_name(made) else None  # the attributes of what it makes
        return None

    def read_annotation(self, node: ast.AST | None) -> str | None:
        """The class of a variable, from HfApi, "HfApi", and HfApi | None."""
        if isinstance(node, ast.BinOp):
            return self.read_annotation(node.left) or self.read_annotation(node.right)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self.aliases.get(node.value)
        found = self.resolve(node)
        return found if found and is_class_name(found) else None

    def note(self, name: str | None, node: ast.AST) -> Used | None:
        if name is None or name.partition(".")[0] not in PACKAGES:
            return None
        noted = self.used.setdefault(name, Used())
        noted.places.add(f"{self.path}:{node.lineno}")
        return noted

    def visit_Import(self, node: ast.Import) -> None:
        for item in node.names:
            self.aliases[item.asname or item.name.partition(".")[0]] = (
                item.name if item.asname else item.name.partition(".")[0]
            )
            self.note(item.name, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for item in node.names if node.module and not node.level else ():
            self.aliases[item.asname or item.name] = f"{node.module}.{item.name}"
            self.note(f"{node.module}.{item.name}", node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        self.classes.append({item.arg: found for item in every if (found := self.read_annotation(item.annotation))})
        self.generic_visit(node)
        self.classes.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        bases = [found for base in node.bases if (found := self.resolve(base)) and found.startswith("fastai.callback.")]
        if bases:
            methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            self.events[f"{self.path}: {node.name}"] = {name for name in methods if EVENT.match(name)}
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        if isinstance(node.value, ast.Call) and (made := self.resolve(node.value)):
            self.classes[-1].update({target.id: made for target in node.targets if isinstance(target, ast.Name)})

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.target, ast.Name) and (found := self.read_annotation(node.annotation)):
            self.classes[-1][node.target.id] = found

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.note(self.resolve(node), node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        is_partial = isinstance(node.func, ast.Name) and node.func.id == "partial"
        function, *arguments = (*node.args, None) if is_partial else (node.func, *node.args, None)
        if noted := self.note(self.resolve(function), node):
            names = [item.arg for item in node.keywords if item.arg]
            is_open = len(names) < len(node.keywords) or any(isinstance(item, ast.Starred) for item in node.args)
            count = sum(not isinstance(item, ast.Starred) for item in arguments[:-1])
            noted.calls.append(Call(f"{self.path}:{node.lineno}", count, names, not is_partial and not is_open))
        self.generic_visit(node)


def is_class_name(name: str) -> bool:
    return name.rpartition(".")[2][:1].isupper()


@functools.cache
def find_used() -> tuple[dict[str, Used], dict[str, set[str]]]:
    """What our sources use, by full name, and the events that our callbacks listen to."""
    used: dict[str, Used] = {}
    events: dict[str, set[str]] = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            finder, tree = Finder(path, used, events), ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):  # first, because a function may import what others only annotate
                if isinstance(node, ast.Import | ast.ImportFrom):
                    finder.visit(node)
            finder.visit(tree)
    return used, events


def may_have(of: type, name: str) -> bool:
    """Return True if objects of a class may have an attribute that the class has not."""
    return hasattr(of, "__getattr__") or bool(re.search(rf"\b{name}\b", read_source(of)))


@functools.cache
def read_source(of: type) -> str:
    """The source of a class and of those that it inherits from."""
    return "\n".join(inspect.getsource(each) for each in of.__mro__ if each.__module__ != "builtins")


def find(name: str) -> object:
    """What a full name stands for; UNKNOWN for an attribute that only objects have.

    Raises:
        AttributeError: there is no such thing.
    """
    parts = name.split(".")
    found: object = importlib.import_module(parts[0])
    for index, part in enumerate(parts[1:], 1):
        if not hasattr(found, part) and inspect.ismodule(found):
            importlib.import_module(".".join(parts[: index + 1]))
        if not hasattr(found, part) and inspect.isclass(found) and may_have(found, part):
            return UNKNOWN
        found = getattr(found, part)
    return found


def get_signature(found: object) -> inspect.Signature | None:
    """The signature of a function or class; None if it is compiled or made by Python, whose versions differ."""
    is_pythons = isinstance(found, enum.EnumMeta) or (
        inspect.isclass(found) and issubclass(found, BaseException) and not inspect.isfunction(found.__init__)
    )
    try:
        return inspect.signature(found) if callable(found) and not is_pythons else None
    except (TypeError, ValueError):
        return None


def describe(name: str) -> str:
    """The parameters of a function or class, without annotations, which vary with Python; else what kind of thing."""
    found = find(name)
    signature = get_signature(found)
    if signature is None:
        return "module" if inspect.ismodule(found) else "callable" if callable(found) else "value"
    plain = [item.replace(annotation=inspect.Parameter.empty) for item in signature.parameters.values()]
    return re.sub(" at 0x[0-9a-f]+| from '[^']*'", "", str(inspect.Signature(plain)))  # where this machine has it


def check_call(name: str, call: Call) -> str:
    """Return what is wrong with the arguments of a call, or ""."""
    found = find(name)
    signature = get_signature(found)
    if signature is None:
        return ""
    owner = find(name.rpartition(".")[0])
    is_method = inspect.isclass(owner) and inspect.isfunction(found)
    is_static = is_method and isinstance(inspect.getattr_static(owner, name.rpartition(".")[2]), staticmethod)
    given = [None] * (call.count + (is_method and not is_static))
    try:
        (signature.bind if call.is_whole else signature.bind_partial)(*given, **dict.fromkeys(call.names))
    except TypeError as error:
        return f"{call.place}: {error}"
    return ""


def list_names(package: str) -> Iterator[str]:
    """The names that we use of a package, if it is installed."""
    for name in sorted(find_used()[0]):
        needed = next((NEEDS[module] for module in NEEDS if name.startswith(module)), None)
        if name.partition(".")[0] == package and (needed is None or importlib.util.find_spec(needed)):
            yield name


@pytest.fixture(scope="module")
def reviewed():
    return json.loads(REVIEWED.read_text(encoding="utf-8"))


@EACH_PACKAGE
def test_every_name_is_still_there(package):
    gone = {}
    for name in list_names(package):
        try:
            find(name)
        except (AttributeError, ImportError):
            gone[name] = sorted(find_used()[0][name].places)
    assert not gone


@pytest.mark.parametrize("package", LIGHT)
def test_every_call_still_fits(package):
    """Not of fastai and transformers: they change the signatures of functions when they are imported."""
    used = find_used()[0]
    wrong = [check_call(name, call) for name in list_names(package) for call in used[name].calls]
    assert not list(filter(None, wrong))


@EACH_PACKAGE
def test_parameters_and_defaults_are_those_that_were_reviewed(package, reviewed):
    """Also of parameters that we do not give: a new default changes what our calls do."""
    used = find_used()[0]
    changed = {
        name: f"was {reviewed.get(name)}, is {state}: {sorted(used[name].places)}"
        for name in list_names(package)
        if (state := describe(name)) != reviewed.get(name)
    }
    assert not changed, WRITE


def test_the_reviewed_names_are_those_that_we_use(reviewed):
    assert set(reviewed) == set(find_used()[0]), WRITE


def test_the_finder_sees_what_our_code_does():
    """If it saw less, everything above would pass for the wrong reason."""
    used, events = find_used()
    calls = {(name, item) for name, each in used.items() for call in each.calls for item in call.names}
    assert {
        ("huggingface_hub.HfApi.create_repo", "private"),  # by a variable that is annotated
        ("huggingface_hub.HfApi.create_repo", "space_sdk"),  # by partial
        ("huggingface_hub.HfApi.create_collection", "exists_ok"),  # by one that is assigned
        ("huggingface_hub.get_hf_file_metadata", "timeout"),
        ("onnxruntime.InferenceSession", "providers"),
    } <= calls
    assert "huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY" in used
    assert "onnxruntime.SessionOptions.enable_mem_pattern" in used
    assert {"fastai.learner.Learner.fit_one_cycle", "transformers.BertForSequenceClassification"} <= set(used)
    assert all(any(name.startswith(f"{each}.") for name in used) for each in PACKAGES)
    assert {"after_step", "before_batch"} <= set().union(*events.values())


@pytest.mark.training
def test_fastai_still_calls_what_our_callbacks_define():
    from fastai.callback.core import event

    known = set(vars(event))
    unknown = {place: missing for place, names in find_used()[1].items() if (missing := names - known)}
    assert not unknown, "fastai would never call these"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (Call("a.py:1", 1, ["revision"], True), "filename"),
        (Call("a.py:1", 1, ["revision"], False), ""),
        (Call("a.py:1", 2, ["branch"], False), "branch"),
        (Call("a.py:1", 2, ["revision"], True), ""),
    ],
)
def test_a_call_that_no_longer_fits_is_found(call, sentence):
    found = check_call("huggingface_hub.hf_hub_url", call)
    assert sentence in found
    assert bool(found) == bool(sentence)


def test_a_name_that_is_gone_is_found():
    with pytest.raises(AttributeError, match="no_such_method"):
        find("huggingface_hub.HfApi.no_such_method")


if __name__ == "__main__":
    if SKIPPED["training"]:
        raise SystemExit(f"The state of all packages is needed: {SKIPPED['training']}.")
    state = {name: describe(name) for package in PACKAGES for name in list_names(package)}
    REVIEWED.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8", newline="\n")
    print(f"Wrote {REVIEWED}")
