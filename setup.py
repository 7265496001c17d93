"""Build hook for the C core; everything else is in pyproject.toml."""

from setuptools import setup

setup(
    cffi_modules=["edgesep/core/build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
