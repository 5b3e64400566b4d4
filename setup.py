"""What pyproject.toml cannot say: an editable install also has `shared`, `training`, `hub` and `locks`, as they are."""

from setuptools import setup
from setuptools.command.editable_wheel import editable_wheel


class EditableRepository(editable_wheel):
    """Installs every package for those who work in this folder; everybody else gets model_gallery alone."""

    def finalize_options(self) -> None:
        self.distribution.packages = ["hub", "locks", "model_gallery", "shared", "training"]
        self.distribution.package_dir = {"": ".", "model_gallery": "shared"}
        super().finalize_options()


setup(cmdclass={"editable_wheel": EditableRepository})
