"""Keeps Gradio from comparing a .pyi file of each of its components at each import, which takes seconds.

Python runs this at its start, since tests/conftest.py puts this folder on PYTHONPATH.
"""

import importlib.abc
import importlib.machinery
import sys

NAME = "gradio.component_meta"


class Finder(importlib.abc.MetaPathFinder):
    """Finds Gradio's module that writes the .pyi files, and takes its function for that away."""

    def find_spec(self, fullname, path, _target=None):
        if fullname != NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        execute = spec.loader.exec_module

        def execute_without_stubs(module):
            execute(module)
            assert callable(module.create_or_modify_pyi)
            module.create_or_modify_pyi = lambda *_: None

        spec.loader.exec_module = execute_without_stubs
        return spec


sys.meta_path.insert(0, Finder())
