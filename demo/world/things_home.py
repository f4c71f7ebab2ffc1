"""Household things of the picture-book world, each drawn in a 100 x 100 box."""

from __future__ import annotations

from demo.world.pen import INK, PAPER, Pen


def cup(p: Pen) -> None:
    p.ring(74, 54, 22, 9, p.dark)
    p.curve(((8, 26), (76, 26), (74, 70), (60, 94), (24, 94), (10, 70)), p.main)
    p.oval(6, 18, 78, 38, p.dark)
    p.oval(13, 22, 71, 36, PAPER)
    p.rect(16, 50, 24, 76, p.light, 4)


def book(p: Pen) -> None:
    p.rect(12, 2, 90, 98, p.dark, 7)
    p.rect(18, 82, 88, 94, PAPER, 3)
    p.rect(12, 2, 90, 84, p.main, 7)
    p.rect(12, 2, 26, 90, p.dark, 6)
    p.rect(38, 16, 78, 42, PAPER, 3)
    p.rect(45, 22, 71, 27, p.dark)
    p.rect(45, 32, 63, 37, p.dark)


def clock(p: Pen) -> None:
    p.line([(24, 84), (16, 97)], 8, p.dark)
    p.line([(76, 84), (84, 97)], 8, p.dark)
    p.pie(6, 0, 44, 38, (130, 330), p.dark)
    p.pie(56, 0, 94, 38, (210, 50), p.dark)
    p.disc(50, 54, 42, p.main)
    p.disc(50, 54, 29, PAPER)
    p.line([(50, 54), (50, 34)], 6, INK)
    p.line([(50, 54), (64, 62)], 6, INK)


def key(p: Pen) -> None:
    p.ring(24, 50, 24, 13, p.main)
    p.rect(42, 43, 100, 57, p.main, 3)
    p.rect(70, 54, 79, 78, p.main, 2)
    p.rect(88, 54, 97, 72, p.main, 2)
    p.rect(44, 51, 98, 57, p.dark, 2)


def guitar(p: Pen) -> None:
    p.line([(56, 44), (86, 14)], 10, p.dark)
    p.poly([(78, 12), (88, 0), (100, 12), (88, 22)], INK)
    p.disc(34, 66, 32, p.main)
    p.disc(54, 46, 22, p.main)
    p.disc(42, 58, 11, INK)
    p.line([(20, 76), (28, 84)], 6, INK)
    p.line([(24, 76), (88, 12)], 2, PAPER)
    p.line([(28, 80), (92, 16)], 2, PAPER)


def hat(p: Pen) -> None:
    p.oval(0, 62, 100, 92, p.dark)
    p.oval(4, 60, 96, 84, p.main)
    p.rect(24, 12, 76, 74, p.main, 10)
    p.rect(24, 52, 76, 66, INK)
    p.rect(32, 18, 39, 46, p.light, 3)


def chair(p: Pen) -> None:
    p.rect(18, 2, 30, 100, p.dark, 3)
    p.rect(70, 52, 82, 100, p.dark, 3)
    p.rect(20, 4, 72, 14, p.main, 4)
    p.rect(60, 4, 72, 56, p.main, 3)
    p.rect(26, 22, 64, 32, p.main)
    p.rect(26, 38, 64, 46, p.main)
    p.rect(12, 52, 90, 66, p.main, 5)


def lamp(p: Pen) -> None:
    p.line([(50, 50), (50, 90)], 7, INK)
    p.rect(24, 88, 76, 98, INK, 5)
    p.poly([(30, 2), (70, 2), (94, 56), (6, 56)], p.main)
    p.poly([(34, 2), (48, 2), (38, 56), (14, 56)], p.light)
    p.rect(6, 50, 94, 58, p.dark, 3)
    p.line([(74, 58), (74, 72)], 3, INK)


def drum(p: Pen) -> None:
    p.line([(22, 26), (2, 2)], 5, INK)
    p.line([(78, 26), (98, 2)], 5, INK)
    p.oval(8, 64, 92, 98, p.dark)
    p.rect(8, 36, 92, 82, p.main)
    p.line([(8, 40), (29, 88), (50, 48), (71, 88), (92, 40)], 4, PAPER)
    p.oval(8, 20, 92, 52, p.dark)
    p.oval(14, 23, 86, 48, PAPER)


def bell(p: Pen) -> None:
    p.ring(50, 12, 11, 6, p.dark)
    p.disc(50, 88, 11, INK)
    p.curve(((50, 12), (72, 24), (78, 58), (92, 78), (50, 82), (8, 78), (22, 58), (28, 24)), p.main)
    p.rect(6, 72, 94, 84, p.dark, 6)
    p.curve(((36, 28), (42, 24), (38, 46), (32, 62), (30, 46)), p.light)
