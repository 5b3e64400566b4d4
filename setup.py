"""What pyproject.toml cannot say: an editable install also has `shared`, `training`, `hub` and `locks`, as they are."""

import warnings

from setuptools import setup
from setuptools.command.editable_wheel import editable_wheel


class EditableRepository(editable_wheel):
    """Installs every package for those who work in this folder; everybody else gets model_gallery alone."""

    def finalize_options(self) -> None:
        self.distribution.packages = ["hub", "locks", "shared", "training", *self.distribution.packages]
        self.distribution.package_dir = {"": ".", "model_gallery": "shared"}
        super().finalize_options()
        warnings.filterwarnings("ignore", message="Editable installation")  # pip 26 prints it, even with --quiet


setup(cmdclass={"editable_wheel": EditableRepository})
