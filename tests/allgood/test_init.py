import pkgutil
import subprocess
import sys

import pytest

import allgood


def test_importing_the_package_loads_neither_torch_nor_ray():
    code = "import sys, allgood; print([m for m in ('torch', 'numpy', 'ray', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_mathematics_loads_without_ray():
    code = (
        "import sys, allgood\nfor name in dir(allgood):\n    if not name.startswith('__'): getattr(allgood, name)\n"
        "print([m for m in ('ray', 'transformers', 'actors', 'pipelines') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_names_load_on_first_use():
    from allgood.formula import Formula

    assert allgood.Formula is Formula
    assert allgood.kl.k1 is not None
    assert "tilt" in dir(allgood)


def test_every_module_is_there():
    modules = {module.name for module in pkgutil.iter_modules(allgood.__path__)} - {"__main__"}
    assert vars(allgood)["_MODULES"] == modules  # not by getattr: what somebody has imported is there anyway


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'allgood' has no attribute 'nothing'"):
        allgood.nothing  # noqa: B018
