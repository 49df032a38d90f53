"""The packages of the wheel; all else stands in pyproject.toml.

``[tool.setuptools.packages.find]`` names a package as its folder, and ``models/`` is the package
``earmark_models``. So the list is made here.
"""

from setuptools import find_packages, setup

setup(packages=["earmark_models", *find_packages(include=["listener", "listener.*"])])
