"""What `import kblocks` shows: `__all__` of each module holds its public names, and `dir` lists no others."""

import ast
import importlib
import inspect
import pkgutil
import pydoc

import pytest

import kblocks

MODULES = [module.name for module in pkgutil.walk_packages(kblocks.__path__, "kblocks.")]


def definitions(module):
    """The names that a module defines, and those of them that are functions, classes and partials."""
    names, callables = set(), set()
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            callables.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = {target.id for target in getattr(node, "targets", [getattr(node, "target", None)])}
            names |= targets
            if isinstance(node.value, ast.Call) and getattr(node.value.func, "id", None) == "partial":
                callables |= targets
        elif isinstance(node, ast.ImportFrom) and hasattr(module, "__path__"):
            names |= {alias.name for alias in node.names}  # a package exports what its modules define
    return names, callables


@pytest.mark.parametrize("name", MODULES)
def test_all_holds_the_public_names(name):
    module = importlib.import_module(name)
    names, callables = definitions(module)
    assert len(set(module.__all__)) == len(module.__all__)
    assert {each for each in callables if not each.startswith("_")} <= set(module.__all__) <= names
    assert not [each for each in module.__all__ if each.startswith("_")]


@pytest.mark.parametrize("name", MODULES)
def test_dir_and_help_list_the_public_names(name):
    module = importlib.import_module(name)
    assert dir(module) == sorted(module.__all__)
    text = pydoc.plain(pydoc.render_doc(module))
    assert not [each for each in module.__all__ if each not in text]


def test_every_module_is_exported():
    children = {module.name for module in pkgutil.iter_modules(kblocks.__path__)}
    assert children <= set(kblocks.__all__)
    assert not [each for each in kblocks.__all__ if not hasattr(kblocks, each)]


def test_a_missing_name_would_be_found():
    names, callables = definitions(importlib.import_module("kblocks.inception_resnet"))
    assert {"block8", "block17", "reduction_a", "reduction_b"} <= callables
    assert "conv" not in names
