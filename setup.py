"""What pyproject.toml cannot say: an editable install puts this folder on the path, and so `shared` and `training`."""

from setuptools import setup
from setuptools.command.editable_wheel import editable_wheel


class RepositoryOnPath(editable_wheel):
    """Installs the folder as it is, for those who work in it; everybody else gets the package model_gallery alone."""

    def finalize_options(self) -> None:
        self.distribution.packages = ["hub", "shared", "training"]
        self.distribution.package_dir = {"": "."}
        super().finalize_options()


setup(cmdclass={"editable_wheel": RepositoryOnPath})
