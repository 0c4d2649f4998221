from importlib.metadata import version

VERSION = version("kasal-runtime")
