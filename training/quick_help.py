"""Print the help of a training command at once, without the seconds in which torch and fastai are imported.

Only while the help is asked for, the packages that no option needs are replaced by empty ones, in which every name is
a class that can be inherited from, called, subscripted and subtracted from.
"""

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

SLOW = (
    "fastai", "fastcore", "fastprogress", "gradio_client", "onnx", "onnxruntime", "pandas", "safetensors", "scipy",
    "sklearn", "tokenizers", "torch", "torchvision", "transformers",
)  # fmt: skip


class EmptyType(type):
    """The class of all names in empty packages."""

    def __getattr__(cls, name: str) -> Any:
        return make_name(name)

    def __getitem__(cls, key: Any) -> Any:
        return cls

    def __sub__(cls, other: Any) -> Any:
        return cls

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return the decorated function if the class is used as a decorator."""
        return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else cls


def make_name(name: str) -> Any:
    """Return a class for a name of an empty package.

    Raises:
        AttributeError: the name has a meaning for Python, such as __path__.
    """
    if name.startswith("__"):
        raise AttributeError(name)
    return EmptyType(name, (), {})


class EmptyModule(ModuleType):
    """A module that has every name."""

    def __getattr__(self, name: str) -> Any:
        return make_name(name)


class EmptyPackages(MetaPathFinder, Loader):
    """Finds the slow packages and all their modules, and makes them empty."""

    def find_spec(self, fullname: str, *_: Any) -> ModuleSpec | None:
        """Return the specification of an empty module, or None for other packages."""
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] in SLOW else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return an empty module."""
        return EmptyModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Leave it empty."""


def is_help_asked() -> bool:
    """Return True while python -m training.… --help imports its modules."""
    return sys.argv[:1] == ["-m"] and not {"-h", "--help"}.isdisjoint(sys.argv)


def skip_slow_packages() -> None:
    """Replace the slow packages in this process, which must end after printing its help."""
    sys.meta_path.insert(0, EmptyPackages())
