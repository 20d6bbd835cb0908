"""Which extra brings which optional package, so that whoever lacks one is told what to install."""

from marketlab.errors import MissingDependency

__all__ = ["EXTRAS", "missing"]

EXTRAS = {
    "anywidget": "notebook",
    "arro3-core": "history",
    "deltalake": "history",
    "influxdb-client": "influxdb",
    "influxdb3-python": "influxdb",
    "ipywidgets": "notebook",
    "jupyterlab": "notebook",
    "narwhals": "history",
    "pandas": "pandas",
    "plotly": "notebook",
    "polars": "history",
    "psycopg": "postgres",
    "pyarrow": "pandas",
    "python-socks": "proxy",
    "redis": "redis",
    "socksio": "proxy",
    "tqdm": "notebook",
    "zstandard": "zstd",
}
"""The smallest extra that brings a package."""


def missing(error: ModuleNotFoundError, purpose: str) -> MissingDependency | None:
    """What to tell someone whose import failed; None where the package is not one of ours to bring."""
    package = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(package)
    return MissingDependency(package, extra, purpose) if extra else None
