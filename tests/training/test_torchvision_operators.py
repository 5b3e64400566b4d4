"""The cure for torchvision where it does not fit the installed torch."""

import pytest

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from training import torchvision_operators

pytestmark = pytest.mark.training


def test_the_workaround_does_nothing_if_it_is_not_needed():
    assert torchvision_operators.define_missing() is False
    import torchvision  # noqa: F401 - would raise "operator torchvision::nms does not exist"
