"""Plants, sky and sweet things of the picture-book world, each drawn in a 100 x 100 box."""

from __future__ import annotations

from math import cos, pi, sin

from demo.world.pen import INK, PAPER, STEEL, Pen


def tree(p: Pen) -> None:
    p.rect(43, 60, 57, 100, INK, 3)
    p.disc(28, 46, 24, p.dark)
    p.disc(72, 46, 24, p.dark)
    p.disc(50, 28, 27, p.main)
    p.disc(32, 44, 20, p.main)
    p.disc(66, 44, 22, p.main)
    p.disc(44, 24, 12, p.light)


def star(p: Pen) -> None:
    def at(i: int, scale: float) -> tuple[float, float]:
        radius = (50 if i % 2 == 0 else 22) * scale
        return 50 + radius * sin(i * pi / 5), 53 - radius * cos(i * pi / 5)

    p.poly([at(i, 1.0) for i in range(10)], p.main)
    p.poly([at(i, 0.5) for i in range(10)], p.light)


def moon(p: Pen) -> None:
    outer = [(52 + 48 * cos(a * pi / 18), 50 + 48 * sin(a * pi / 18)) for a in range(6, 31)]
    inner = [(80 + 44 * cos(a * pi / 18), 50 + 44 * sin(a * pi / 18)) for a in range(26, 9, -1)]
    p.poly(outer + inner, p.main)
    p.disc(20, 44, 6, p.dark)
    p.disc(30, 68, 8, p.dark)
    p.disc(32, 24, 4, p.dark)


def flower(p: Pen) -> None:
    p.line([(50, 50), (50, 98)], 6, INK)
    p.curve(((50, 92), (60, 74), (80, 72), (70, 88)), STEEL)
    for i in range(6):
        a = i * pi / 3
        p.disc(50 + 23 * sin(a), 34 - 23 * cos(a), 15, p.main if i % 2 else p.dark)
    p.disc(50, 34, 13, PAPER)
    p.disc(50, 34, 7, p.dark)


def mushroom(p: Pen) -> None:
    p.curve(((38, 50), (62, 50), (66, 92), (50, 98), (34, 92)), PAPER)
    p.poly([(36, 56), (64, 56), (63, 64), (37, 64)], STEEL)
    p.pie(0, 2, 100, 112, (180, 360), p.main)
    p.rect(2, 52, 98, 60, p.dark, 4)
    p.disc(30, 36, 9, PAPER)
    p.disc(58, 22, 8, PAPER)
    p.disc(78, 42, 7, PAPER)


def apple(p: Pen) -> None:
    p.line([(50, 26), (56, 4)], 6, INK)
    p.curve(((58, 16), (74, 2), (90, 6), (78, 20)), p.dark)
    p.curve(
        ((50, 26), (74, 18), (96, 38), (88, 78), (64, 98), (50, 94), (36, 98), (12, 78), (4, 38), (26, 18)),
        p.main,
    )
    p.curve(((22, 34), (34, 30), (28, 46), (20, 58), (16, 46)), p.light)


def cake(p: Pen) -> None:
    p.rect(4, 88, 96, 96, STEEL, 4)
    p.rect(12, 48, 88, 90, p.main, 4)
    p.rect(12, 68, 88, 75, PAPER)
    p.curve(
        ((10, 44), (50, 38), (90, 44), (90, 58), (78, 52), (68, 64), (56, 54), (44, 62), (32, 53), (20, 62)),
        p.light,
    )
    for x in (28, 50, 72):
        p.rect(x - 3, 22, x + 3, 44, p.dark)
        p.oval(x - 4, 6, x + 4, 20, PAPER)


def heart(p: Pen) -> None:
    shape = ((50, 24), (66, 6), (90, 10), (98, 34), (84, 62), (50, 96), (16, 62), (2, 34), (10, 10), (34, 6))
    p.curve(shape, p.main)
    p.curve(((18, 26), (30, 18), (32, 26), (22, 34), (18, 46), (14, 38)), p.light)
