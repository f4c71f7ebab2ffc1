"""Animals of the picture-book world, each drawn in a 100 x 100 box."""

from __future__ import annotations

from demo.world.pen import INK, PAPER, STEEL, Pen


def fish(p: Pen) -> None:
    p.poly([(70, 50), (100, 20), (94, 50), (100, 80)], p.dark)
    p.poly([(34, 30), (58, 8), (66, 34)], p.dark)
    p.oval(0, 22, 80, 78, p.main)
    p.oval(6, 48, 62, 76, p.light)
    p.poly([(40, 48), (58, 56), (42, 66)], p.dark)
    p.eye(19, 42, 7)


def bird(p: Pen) -> None:
    p.poly([(64, 56), (100, 40), (98, 60), (74, 74)], p.dark)
    p.line([(44, 82), (44, 98)], 4, INK)
    p.line([(56, 82), (56, 98)], 4, INK)
    p.oval(18, 32, 84, 88, p.main)
    p.disc(32, 30, 22, p.main)
    p.poly([(14, 24), (0, 34), (14, 38)], STEEL)
    p.curve(((42, 50), (76, 44), (88, 58), (64, 76), (46, 68)), p.dark)
    p.oval(22, 56, 46, 82, p.light)
    p.eye(28, 26, 6)


def cat(p: Pen) -> None:
    p.line([(80, 88), (94, 72), (90, 50), (97, 40)], 9, p.dark)
    p.curve(((30, 60), (50, 46), (74, 58), (86, 90), (60, 99), (28, 98), (20, 84)), p.main)
    p.poly([(10, 34), (10, 0), (36, 16)], p.main)
    p.poly([(70, 34), (70, 0), (44, 16)], p.main)
    p.poly([(15, 22), (15, 9), (26, 16)], p.light)
    p.poly([(65, 22), (65, 9), (54, 16)], p.light)
    p.oval(6, 10, 74, 62, p.main)
    p.oval(30, 66, 56, 96, p.light)
    p.eye(26, 34, 7)
    p.eye(54, 34, 7)
    p.poly([(35, 44), (45, 44), (40, 51)], INK)


def dog(p: Pen) -> None:
    p.line([(84, 50), (97, 30)], 8, p.main)
    for x in (30, 42, 72, 84):
        p.rect(x - 6, 66, x + 5, 98, p.dark if x in (42, 72) else p.main, 4)
    p.rect(24, 44, 92, 78, p.main, 14)
    p.rect(0, 24, 30, 48, p.main, 9)
    p.rect(14, 10, 48, 54, p.main, 14)
    p.curve(((38, 12), (52, 14), (56, 42), (46, 50), (40, 36)), p.dark)
    p.disc(3, 30, 6, INK)
    p.eye(26, 26, 5)
    p.rect(22, 52, 44, 58, PAPER, 2)


def mouse(p: Pen) -> None:
    p.arc(86, 66, 14, (180, 40), 4, p.dark)
    p.curve(((2, 72), (20, 46), (50, 34), (78, 50), (84, 82), (40, 86)), p.main)
    p.disc(54, 36, 17, p.dark)
    p.disc(34, 38, 18, p.main)
    p.disc(34, 38, 11, p.light)
    p.disc(4, 72, 5, INK)
    p.eye(17, 64, 5)
    p.oval(30, 80, 46, 90, p.dark)
    p.oval(62, 80, 78, 90, p.dark)


def butterfly(p: Pen) -> None:
    for side in (1, -1):
        p.curve(
            tuple((50 + side * x, y) for x, y in ((2, 44), (16, 8), (44, 2), (48, 34), (30, 54))),
            p.main,
        )
        p.curve(
            tuple((50 + side * x, y) for x, y in ((2, 52), (30, 52), (42, 70), (28, 96), (10, 82))), p.dark
        )
        p.disc(50 + side * 30, 26, 8, p.light)
        p.disc(50 + side * 24, 72, 6, p.light)
        p.line([(50, 24), (50 + side * 12, 4)], 3, INK)
    p.oval(45, 18, 55, 88, INK)


def snail(p: Pen) -> None:
    p.curve(((0, 62), (12, 52), (22, 76), (60, 76), (100, 92), (60, 97), (12, 96)), p.light)
    p.line([(6, 58), (0, 38)], 4, p.light)
    p.line([(14, 56), (18, 36)], 4, p.light)
    p.disc(1, 37, 4, INK)
    p.disc(18, 35, 4, INK)
    p.disc(58, 48, 37, p.main)
    p.ring(58, 50, 25, 6, p.dark)
    p.disc(58, 52, 10, p.dark)


def turtle(p: Pen) -> None:
    p.oval(76, 34, 100, 62, p.light)
    p.eye(91, 44, 4)
    p.rect(16, 66, 32, 90, p.light, 6)
    p.rect(60, 66, 76, 90, p.light, 6)
    p.poly([(10, 64), (0, 74), (16, 74)], p.light)
    p.pie(4, 14, 86, 126, (180, 360), p.main)
    p.rect(4, 66, 86, 74, p.dark, 4)
    p.poly([(36, 34), (54, 34), (62, 48), (54, 62), (36, 62), (28, 48)], p.dark)
    p.poly([(8, 62), (16, 42), (24, 62)], p.dark)
    p.poly([(82, 62), (74, 42), (66, 62)], p.dark)
