"""Every store has a folder of its own for what waits, and the folder says whose it is, without secrets."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marketlab.config import load_settings
from marketlab.errors import StoreUnavailable, UsageError
from marketlab.stores.delta import DeltaStore
from marketlab.stores.memory import MemoryStore
from marketlab.stores.open import open_sink
from marketlab.stores.spool_places import place_of, places, prepared


class ServedStore(MemoryStore):
    scheme: ClassVar[str] = "served"


URLS = [
    "served://host:8086/market",
    "served://host:8086/Market",
    "served://host:8087/market",
    "served://host:8086/market?org=one",
    "served://host:8086/market?org=two",
    "served://[::1]:8086/a/b",
    "served://" + "long" * 80,
    "served://" + "long" * 80 + "er",
]


def test_no_two_stores_share_a_place(tmp_path: Path) -> None:
    found = {prepared(ServedStore(url), tmp_path) for url in URLS}
    assert len(found) == len(URLS)
    assert [place_of(ServedStore(url), tmp_path) for url in URLS] == [
        prepared(ServedStore(url), tmp_path) for url in URLS
    ]
    assert {(url, place_of(ServedStore(url), tmp_path)) for url in URLS} == set(places(tmp_path))
    for place in tmp_path.iterdir():
        assert place.name.isascii()
        assert len(place.name) < 80


def test_the_name_of_a_place_tells_people_whose_it_is(tmp_path: Path) -> None:
    place = place_of(ServedStore(URLS[0]), tmp_path)
    assert place is not None
    assert place.name.rpartition("-")[0] == "served-host-8086-market"


def test_the_url_is_kept_as_it_was_given_without_secrets(tmp_path: Path) -> None:
    given = "served://me:hush@host:8086/market?org=lab&version=2&token=hush&sslpassword=hush&create=true"
    place = prepared(ServedStore(URLS[0]), tmp_path, given)
    assert list(places(tmp_path)) == [("served://host:8086/market?org=lab&version=2&create=true", place)]


@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters="&")),
    form=st.sampled_from(
        ["postgresql://joe:{}@h/d", "postgresql://h/d?password={}", "redis://:{}@h", "influxdb://joe:{}@h/d?version=2"]
    ),
)
@example("#", "postgresql://joe:{}@h/d")
@example("@", "postgresql://h/d?password={}")
@example("@", "redis://:{}@h")
@example("/", "redis://:{}@h")
@example("?", "redis://:{}@h")
@example("[", "redis://:{}@h")
@example("\u2100", "redis://:{}@h")
@example("?", "influxdb://joe:{}@h/d?version=2")
@example("@/", "influxdb://joe:{}@h/d?version=2")
@example("@?org=", "influxdb://joe:{}@h/d?version=2")
@example("@?schema=", "postgresql://joe:{}@h/d")
def test_no_password_gets_into_an_error_or_onto_the_disk(text: str, form: str) -> None:
    assert "hush" not in told(form.format(f"hush{text}hush"))


def told(url: str) -> str:
    """Everything that one learns when a URL is used."""
    with TemporaryDirectory() as folder:
        try:
            sink = open_sink(url, load_settings(environ={"INFLUXDB_DATABASE": "d"}))
        except UsageError as error:
            return str(error)
        with sink:
            place = prepared(sink, Path(folder), url)
        assert place is not None
        return f"{place}{sink.url}{(place / 'store').read_text(encoding='utf-8')}"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("postgresql://joe:hush@h/d?schema=s", "postgresql://joe@h/d?schema=s"),
        ("postgres://joe@h/d", "postgres://joe@h/d"),
        ("postgresql://:hush@h/d", "postgresql://h/d"),
        ("postgresql://joe@work:hush@h/d", "postgresql://h/d"),
        ("postgresql://h/d", "postgresql://h/d"),
        ("influxdb://token@h/d", "influxdb://h/d"),
    ],
)
def test_who_asks_postgresql_is_no_secret(tmp_path: Path, given: str, kept: str) -> None:
    prepared(ServedStore(URLS[0]), tmp_path, given)
    assert [url for url, _ in places(tmp_path)] == [kept]


def test_what_may_be_a_password_or_an_option_is_not_kept(tmp_path: Path) -> None:
    prepared(ServedStore(URLS[0]), tmp_path, "served://host/market?user=me@work")
    assert [url for url, _ in places(tmp_path)] == [URLS[0]]


def test_a_local_store_keeps_what_waits_in_its_own_folder(tmp_path: Path) -> None:
    store = DeltaStore(tmp_path / "store")
    assert prepared(store, tmp_path / "root") == tmp_path / "store" / "_spool"
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_a_local_store_is_remembered_until_it_is_gone(tmp_path: Path) -> None:
    root, place = tmp_path / "root", tmp_path / "store" / "_spool"
    with DeltaStore(tmp_path / "store") as store:
        prepared(store, root)
        assert [path.is_file() for path in root.iterdir()] == [True]
        place.mkdir(parents=True)
        assert list(places(root)) == [(store.url, place)]
    place.rmdir()
    assert list(places(root)) == []
    assert len(list(root.iterdir())) == 1
    place.parent.rmdir()
    assert list(places(root)) == []
    assert list(root.iterdir()) == []


def test_a_local_store_needs_nothing_but_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert prepared(DeltaStore(tmp_path / "store"), tmp_path / "file") == tmp_path / "store" / "_spool"


def test_what_ends_with_its_process_has_no_place(tmp_path: Path) -> None:
    assert prepared(MemoryStore(), tmp_path / "root") is None
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_one_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match=r"Cannot write to .*: a file is where a folder should be"):
        prepared(ServedStore(URLS[0]), tmp_path / "file")


@pytest.mark.parametrize(
    ("environ", "root"),
    [
        ({"XDG_STATE_HOME": "/var/state"}, "/var/state/marketlab/spool"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/me"}, "/home/me/.local/state/marketlab/spool"),
        ({"HOME": "/home/me"}, "/home/me/.local/state/marketlab/spool"),
        ({"HOME": "/home/me", "MARKETLAB_SPOOL": "~/spool"}, "/home/me/spool"),
        ({"HOME": "/home/me", "MARKETLAB_SPOOL": "/disk/spool"}, "/disk/spool"),
    ],
)
def test_the_root_is_the_setting_or_where_state_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], root: str
) -> None:
    for name in ("XDG_STATE_HOME", "HOME", "MARKETLAB_SPOOL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert load_settings(folder=tmp_path).spool == Path(root)


def test_tests_keep_away_from_the_home_of_whoever_runs_them() -> None:
    assert load_settings(folder=Path("/nowhere")).spool.is_relative_to(os.environ["XDG_STATE_HOME"])
