"""Vehicles, houses and flying things of the picture-book world, each drawn in a 100 x 100 box."""

from __future__ import annotations

from demo.world.pen import INK, PAPER, SKY, STEEL, Pen


def house(p: Pen) -> None:
    p.rect(68, 8, 80, 34, p.dark)
    p.rect(12, 44, 88, 98, p.main)
    p.poly([(0, 50), (50, 4), (100, 50)], p.dark)
    p.rect(42, 64, 60, 98, INK, 2)
    p.rect(20, 58, 36, 76, PAPER)
    p.rect(66, 58, 82, 76, PAPER)
    p.line([(28, 58), (28, 76)], 2, p.dark)
    p.line([(74, 58), (74, 76)], 2, p.dark)


def car(p: Pen) -> None:
    p.poly([(20, 46), (34, 20), (70, 20), (86, 46)], p.main)
    p.poly([(28, 46), (38, 27), (51, 27), (51, 46)], SKY)
    p.poly([(56, 46), (56, 27), (67, 27), (77, 46)], SKY)
    p.rect(0, 42, 100, 72, p.main, 9)
    p.rect(0, 60, 100, 70, p.dark, 4)
    p.oval(90, 46, 99, 56, PAPER)
    for x in (24, 76):
        p.disc(x, 70, 15, INK)
        p.disc(x, 70, 7, STEEL)


def boat(p: Pen) -> None:
    p.line([(50, 4), (50, 70)], 5, INK)
    p.poly([(54, 6), (92, 60), (54, 60)], p.light)
    p.poly([(46, 14), (46, 60), (14, 60)], p.main)
    p.poly([(0, 68), (100, 68), (80, 96), (20, 96)], p.main)
    p.poly([(0, 68), (100, 68), (96, 75), (4, 75)], p.dark)


def train(p: Pen) -> None:
    p.rect(14, 10, 30, 40, p.dark)
    p.rect(10, 6, 34, 14, p.dark, 3)
    p.rect(4, 36, 66, 76, p.main, 10)
    p.rect(58, 8, 98, 76, p.main, 3)
    p.rect(54, 4, 100, 14, p.dark, 3)
    p.rect(68, 22, 90, 42, SKY)
    p.rect(36, 26, 48, 38, p.dark, 4)
    p.rect(2, 66, 98, 76, p.dark)
    for x in (18, 46):
        p.disc(x, 82, 12, INK)
        p.disc(x, 82, 5, STEEL)
    p.disc(80, 78, 18, INK)
    p.disc(80, 78, 8, STEEL)


def bicycle(p: Pen) -> None:
    for x in (22, 78):
        p.ring(x, 66, 22, 8, p.dark)
        p.disc(x, 66, 5, INK)
    p.line([(22, 66), (38, 34), (66, 34), (48, 66), (22, 66)], 8, p.main)
    p.line([(48, 66), (36, 26)], 8, p.main)
    p.line([(78, 66), (64, 20)], 8, p.main)
    p.line([(64, 20), (80, 18)], 7, INK)
    p.rect(24, 18, 48, 27, INK, 4)
    p.disc(48, 66, 8, INK)


def rocket(p: Pen) -> None:
    p.poly([(40, 82), (60, 82), (50, 100)], STEEL)
    p.poly([(32, 50), (10, 84), (36, 80)], p.dark)
    p.poly([(68, 50), (90, 84), (64, 80)], p.dark)
    p.curve(((50, 0), (66, 22), (72, 54), (64, 82), (36, 82), (28, 54), (34, 22)), p.main)
    p.poly([(50, 0), (62, 18), (38, 18)], p.dark)
    p.disc(50, 40, 13, PAPER)
    p.disc(50, 40, 9, SKY)
    p.rect(36, 74, 64, 83, p.dark, 2)


def balloon(p: Pen) -> None:
    p.line([(50, 74), (46, 84), (54, 92), (50, 100)], 3, INK)
    p.curve(((50, 0), (78, 10), (86, 38), (70, 64), (50, 76), (30, 64), (14, 38), (22, 10)), p.main)
    p.poly([(50, 72), (58, 82), (42, 82)], p.dark)
    p.curve(((28, 24), (36, 14), (44, 14), (36, 24), (32, 38), (27, 36)), p.light)


def kite(p: Pen) -> None:
    p.line([(42, 72), (48, 82), (66, 84), (74, 96), (94, 98)], 3, INK)
    p.poly([(42, 0), (80, 30), (42, 74), (4, 30)], p.main)
    p.poly([(42, 0), (42, 30), (4, 30)], p.light)
    p.poly([(42, 74), (42, 30), (80, 30)], p.dark)
    p.poly([(58, 76), (62, 92), (72, 78)], p.main)
    p.poly([(76, 88), (80, 100), (90, 90)], p.main)


def umbrella(p: Pen) -> None:
    p.line([(50, 0), (50, 84)], 5, INK)
    p.arc(60, 86, 12, (0, 180), 5, INK)
    p.pie(0, 6, 100, 104, (180, 360), p.main)
    p.poly([(33, 56), (50, 6), (67, 56)], p.light)
    for x in (16.5, 50, 83.5):
        p.pie(x - 17, 46, x + 17, 66, (180, 360), p.dark)


def crown(p: Pen) -> None:
    p.poly([(4, 92), (0, 30), (26, 56), (50, 12), (74, 56), (100, 30), (96, 92)], p.main)
    p.rect(4, 74, 96, 94, p.dark, 3)
    for x in (20, 50, 80):
        p.disc(x, 84, 6, PAPER)
    for x, y in ((3, 26), (50, 10), (97, 26)):
        p.disc(x, y, 7, p.light)
