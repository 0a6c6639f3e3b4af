"""SecureChat. The version is also in ``pyproject.toml`` and in ``client/package.json``."""

__version__ = "0.1.0"
