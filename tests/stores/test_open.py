"""From URLs to stores."""

import subprocess
import sys

import pytest

from marketlab.errors import UsageError
from marketlab.stores.open import open_store, schemes

WITHOUT = """
import sys
sys.modules[{package!r}] = None
from marketlab.errors import MissingDependency
from marketlab.stores.open import open_store, schemes
try:
    open_store({url!r})
except MissingDependency as error:
    print(error)
    print(schemes() if {package!r} != "polars" else "")
"""


def test_every_scheme_is_found() -> None:
    assert {"delta", "memory"} <= set(schemes())


@pytest.mark.parametrize("url", ["mongo://x", "delta_table://x", "memory:/x", "marketdata", ""])
def test_an_unknown_scheme_names_what_exists(url: str) -> None:
    with pytest.raises(UsageError, match="delta://"):
        open_store(url)


@pytest.mark.parametrize(("package", "url"), [("deltalake", "delta://x"), ("polars", "memory://")])
def test_an_absent_package_is_named_with_the_line_that_installs_it(package: str, url: str) -> None:
    code = WITHOUT.format(package=package, url=url)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    sentence, found = done.stdout.splitlines()
    assert f"needs the package {package}: run pip install 'marketlab[history]'" in sentence
    assert package == "polars" or found == str(schemes())


@pytest.mark.parametrize("url", ["influxdb//admin:s3cret@127.0.0.1/x", "delta//a:s3cret@b", "influxdb:/a:s3cret@b"])
def test_a_misspelt_url_is_not_said_again(url: str) -> None:
    with pytest.raises(UsageError, match="://") as caught:
        open_store(url)
    assert "s3cret" not in str(caught.value)
