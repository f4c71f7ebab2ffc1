"""A pen that draws vector shapes of one thing, in a 100 x 100 box, onto a Pillow picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

INK: Colour = (52, 52, 62)
PAPER: Colour = (252, 250, 244)
STEEL: Colour = (150, 156, 168)
SKY: Colour = (214, 232, 242)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Colour `a` with `share` (0..1) of colour `b`."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return (red, green, blue)


@lru_cache(maxsize=512)
def smooth(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """`spline` of constant points, cached."""
    return spline(points, 5)


def spline(points: tuple[Point, ...], steps: int) -> tuple[Point, ...]:
    """The closed Catmull-Rom curve through the points, as a polygon of `steps` corners per point."""
    count = len(points)
    out: list[Point] = []
    for i in range(count):
        p0, p1, p2, p3 = (points[(i + k) % count] for k in (-1, 0, 1, 2))
        for step in range(steps):
            t = step / steps
            out.append((_spline(p0[0], p1[0], p2[0], p3[0], t), _spline(p0[1], p1[1], p2[1], p3[1], t)))
    return tuple(out)


def _spline(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t**3)


@dataclass(frozen=True)
class Pen:
    """Draws in box units (0..100, y down); `left`, `top` and `scale` map them to pixels of the canvas."""

    canvas: ImageDraw.ImageDraw
    left: float
    top: float
    scale: float
    main: Colour
    dark: Colour
    light: Colour

    def _box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        return (
            self.left + x0 * self.scale,
            self.top + y0 * self.scale,
            self.left + x1 * self.scale,
            self.top + y1 * self.scale,
        )

    def _points(self, points: Sequence[Point]) -> list[Point]:
        return [(self.left + x * self.scale, self.top + y * self.scale) for x, y in points]

    def poly(self, points: Sequence[Point], fill: Colour) -> None:
        """A filled polygon."""
        self.canvas.polygon(self._points(points), fill=fill)

    def curve(self, points: tuple[Point, ...], fill: Colour) -> None:
        """A filled smooth shape through the points."""
        self.canvas.polygon(self._points(smooth(points)), fill=fill)

    def oval(self, x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
        """A filled ellipse in the given box."""
        self.canvas.ellipse(self._box(x0, y0, x1, y1), fill=fill)

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        """A filled circle."""
        self.oval(x - radius, y - radius, x + radius, y + radius, fill)

    def ring(self, x: float, y: float, radius: float, width: float, fill: Colour) -> None:
        """A circle line whose outer radius is `radius`."""
        box = self._box(x - radius, y - radius, x + radius, y + radius)
        self.canvas.ellipse(box, outline=fill, width=self._width(width))

    def rect(self, x0: float, y0: float, x1: float, y1: float, fill: Colour, radius: float = 0) -> None:
        """A filled rectangle, with rounded corners when `radius` is not 0."""
        if radius:
            self.canvas.rounded_rectangle(self._box(x0, y0, x1, y1), radius=radius * self.scale, fill=fill)
        else:
            self.canvas.rectangle(self._box(x0, y0, x1, y1), fill=fill)

    def line(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """A line with round ends and joints."""
        pixels, thick = self._points(points), self._width(width)
        self.canvas.line(pixels, fill=fill, width=thick, joint="curve")
        half = thick / 2
        for x, y in (pixels[0], pixels[-1]):
            self.canvas.ellipse((x - half, y - half, x + half, y + half), fill=fill)

    def arc(
        self, x: float, y: float, radius: float, turn: tuple[float, float], width: float, fill: Colour
    ) -> None:
        """Part of a circle line, from and to the angles of `turn` in degrees, clockwise from the right."""
        box = self._box(x - radius, y - radius, x + radius, y + radius)
        self.canvas.arc(box, turn[0], turn[1], fill=fill, width=self._width(width))

    def pie(
        self, x0: float, y0: float, x1: float, y1: float, turn: tuple[float, float], fill: Colour
    ) -> None:
        """A slice of the ellipse in the box, between the angles of `turn` in degrees."""
        self.canvas.pieslice(self._box(x0, y0, x1, y1), turn[0], turn[1], fill=fill)

    def eye(self, x: float, y: float, radius: float = 4) -> None:
        """A white eye with a dark pupil."""
        self.disc(x, y, radius, PAPER)
        self.disc(x, y, radius * 0.6, INK)

    def _width(self, width: float) -> int:
        return max(1, round(width * self.scale))
