"""The version of this library: its one source, which the package's metadata reads."""

__version__ = "0.1.0"
