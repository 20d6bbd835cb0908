"""The sheet on which widgets draw their static pictures: SVG with the same layout as the live ones."""

from decimal import Decimal
from html import escape

import msgspec

__all__ = ["CVD", "DEFAULT", "Colours", "Sheet", "colours", "decimals_of", "number", "state_word"]

FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', sans-serif"
HEADER = 34


class Colours(msgspec.Struct, frozen=True):
    """Fills of up and down, at least 3:1 against white and black."""

    up: str
    down: str


DEFAULT = Colours("#26a69a", "#ef5350")
CVD = Colours("#0072B2", "#D55E00")


def colours(palette: str) -> Colours:
    """The colours of a palette by its name."""
    return CVD if palette == "cvd" else DEFAULT


def number(value: float, decimals: int) -> str:
    """A number as the widgets write it: thousands separated by a thin space, so many decimals."""
    return f"{value:,.{decimals}f}".replace(",", "\u2009")


def decimals_of(unit: float, otherwise: int = 0) -> int:
    """How many decimals it takes to write a tick or a step: 2 for 0.05, 0 for 10; `otherwise` where it is unknown (0)."""
    if not unit:
        return otherwise
    exponent = Decimal(repr(unit)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def state_word(origin: str, *, running: bool, connected: bool = True) -> str:
    """What the data is doing, as the header says it: what is replayed or simulated keeps that mark."""
    mark = origin if origin in ("replay", "simulated") else ""
    if not running or (origin and not connected):
        word = "reconnecting" if running else "stopped"
        return f"{mark} · {word}" if mark else word
    return mark or ("live" if origin else "waiting")


class Sheet:
    """An SVG element that grows. Text takes the reader's own colour where the page has one, so it suits dark and light.

    Args:
        width, height: in pixels; the picture scales to its place.
        title: what a screen reader says.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width = width
        self.height = height
        self._title = title
        self._parts: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, fill: str, opacity: float = 1.0) -> None:
        """A filled rectangle."""
        faint = "" if opacity == 1 else f' fill-opacity="{opacity:g}"'
        self._parts.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" fill="{fill}"{faint}/>'
        )

    def line(self, points: list[tuple[float, float]], stroke: str, width: float = 1.0, dash: str = "") -> None:
        """A line through points."""
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="{_n(width)}"{dashed}/>'
        )

    def area(self, points: list[tuple[float, float]], fill: str, opacity: float = 0.2) -> None:
        """A filled shape."""
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        self._parts.append(f'<polygon points="{path}" fill="{fill}" fill-opacity="{opacity:g}"/>')

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        anchor: str = "start",
        fill: str = "#767676",
        size: int = 12,
        bold: bool = False,
    ) -> None:
        """Words with their baseline at `y`; anchor is start, middle or end."""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" fill="{fill}" font-size="{size}"{weight}>'
            f"{escape(words)}</text>"
        )

    def header(self, words: list[str], state: str, right: str = "") -> None:
        """The header line: words, the state with its dot, and what stands on the right."""
        text = " · ".join([*words, f"● {state}"])
        self.text(10, 22, text, size=13, bold=True)
        self.text(self.width - 10, 22, right, anchor="end", size=13)
        self.line([(0, HEADER), (self.width, HEADER)], "#7773")

    def message(self, words: str) -> None:
        """One line in the middle, for empty states."""
        self.text(self.width / 2, (self.height + HEADER) / 2, words, anchor="middle")

    def svg(self) -> str:
        """The whole element."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" role="img" aria-label="{escape(self._title)}" '
            f'style="max-width:100%;height:auto;font-family:{escape(FONT)};font-variant-numeric:tabular-nums">'
            f"<title>{escape(self._title)}</title>{''.join(self._parts)}</svg>"
        )


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
