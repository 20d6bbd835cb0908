"""The JavaScript of the widgets, as the build has made it."""

from pathlib import Path

__all__ = ["javascript"]

_STATIC = Path(__file__).with_name("static")
_ABSENT = """
export default {{
  render({{ el }}) {{
    el.className = "ml-widget";
    el.dataset.widget = {name!r};
    el.textContent = {sentence!r};
  }},
}};
"""


def javascript(name: str) -> str:
    """A widget's module; where it was not built, one that says what to run."""
    path = _STATIC / f"{name}.js"
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        sentence = (
            "The widgets' JavaScript has not been built: run `make widgets` in the checkout "
            "(it needs npm's registry once), then restart the kernel."
        )
        return _ABSENT.format(name=name, sentence=sentence)
