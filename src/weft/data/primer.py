"""Generates the arithmetic problems of primer.txt: `python -m weft.data.primer`.

The prose above them was written by hand and is kept.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

PATH = Path(__file__).with_name("primer.txt")

NUM_PROBLEMS = 154
NAMES = ("Ada", "Ben", "Clara", "Dario", "Edith", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kira",
         "Leo", "Mona", "Nils", "Olga", "Pavel", "Rosa", "Samir", "Tilda", "Wen")  # fmt: skip
GOODS = ("apples", "books", "candles", "eggs", "lamps", "marbles", "pencils", "plums", "ribbons",
         "stamps", "tickets", "tulips")  # fmt: skip
BOXES = ("bags", "baskets", "boxes", "crates", "jars", "trays")

Problem = tuple[str, list[str], int]
"""A question, the steps of its answer, and the final number."""


def buy_and_give(random: Random) -> Problem:
    """Some in boxes, some given away."""
    name, other, goods, boxes = *random.sample(NAMES, 2), random.choice(GOODS), random.choice(BOXES)
    count, each = random.randint(3, 12), random.randint(4, 15)
    total = count * each
    given = random.randint(2, total - 1)
    return (
        f"{name} buys {count} {boxes} with {each} {goods} in each. "
        f"{name} gives {given} {goods} to {other}. How many {goods} does {name} have left?",
        [
            f"{name} buys {count} * {each} = <<{count}*{each}={total}>>{total} {goods}.",
            f"There are {total} - {given} = <<{total}-{given}={total - given}>>"
            f"{total - given} {goods} left.",
        ],
        total - given,
    )


def weekly_pay(random: Random) -> Problem:
    """Hours on two kinds of days."""
    name, wage = random.choice(NAMES), random.randint(8, 20)
    week, weekend = random.randint(3, 8), random.randint(2, 6)
    a, b = 5 * week, 2 * weekend
    pay = (a + b) * wage
    return (
        f"{name} works {week} hours a day from Monday to Friday and {weekend} hours a day at the "
        f"weekend. An hour pays ${wage}. How many dollars does {name} earn in a week?",
        [
            f"From Monday to Friday {name} works 5 * {week} = <<5*{week}={a}>>{a} hours.",
            f"At the weekend it is 2 * {weekend} = <<2*{weekend}={b}>>{b} hours.",
            f"Together that is {a} + {b} = <<{a}+{b}={a + b}>>{a + b} hours.",
            f"{name} earns {a + b} * {wage} = $<<{a + b}*{wage}={pay}>>{pay}.",
        ],
        pay,
    )


def share_evenly(random: Random) -> Problem:
    """A sum that is divided."""
    name, goods, people = random.choice(NAMES), random.choice(GOODS), random.randint(2, 9)
    each = random.randint(3, 14)
    total = people * each
    first = random.randint(1, total - 1)
    return (
        f"{name} has {first} {goods} and finds {total - first} more. {name} shares all of them "
        f"evenly among {people} friends. How many {goods} does each friend get?",
        [
            f"There are {first} + {total - first} = <<{first}+{total - first}={total}>>"
            f"{total} {goods}.",
            f"Each friend gets {total} / {people} = <<{total}/{people}={each}>>{each} {goods}.",
        ],
        each,
    )


def change_of_a_note(random: Random) -> Problem:
    """Two prices, paid with a note."""
    name, goods, other = random.choice(NAMES), *random.sample(GOODS, 2)
    price, dearer = random.randint(1, 4), random.randint(2, 6)
    m, n = random.randint(2, 6), random.randint(2, 6)
    a, b = m * price, n * dearer
    return (
        f"At the market {goods} cost ${price} each and {other} cost ${dearer} each. {name} takes "
        f"{m} {goods} and {n} {other} and pays with $100. How much change does {name} get?",
        [
            f"The {goods} cost {m} * {price} = $<<{m}*{price}={a}>>{a}.",
            f"The {other} cost {n} * {dearer} = $<<{n}*{dearer}={b}>>{b}.",
            f"All of it costs {a} + {b} = $<<{a}+{b}={a + b}>>{a + b}.",
            f"The change is 100 - {a + b} = $<<100-{a + b}={100 - a - b}>>{100 - a - b}.",
        ],
        100 - a - b,
    )


def twice_as_many(random: Random) -> Problem:
    """A comparison of two people."""
    name, other, goods = *random.sample(NAMES, 2), random.choice(GOODS)
    times, few, more = random.randint(2, 5), random.randint(3, 20), random.randint(1, 9)
    a = times * few
    b = a + more
    return (
        f"{name} has {few} {goods}. {other} has {more} more than {times} times as many. "
        f"How many {goods} do they have together?",
        [
            f"{times} times as many is {times} * {few} = <<{times}*{few}={a}>>{a}.",
            f"{other} has {a} + {more} = <<{a}+{more}={b}>>{b} {goods}.",
            f"Together they have {few} + {b} = <<{few}+{b}={few + b}>>{few + b} {goods}.",
        ],
        few + b,
    )


def walk_there_and_back(random: Random) -> Problem:
    """A distance at a steady pace."""
    name, pace, hours = random.choice(NAMES), random.randint(3, 6), random.randint(2, 7)
    way = pace * hours
    days = random.randint(2, 6)
    return (
        f"{name} walks {pace} kilometres an hour and needs {hours} hours from the village to the "
        f"harbour. {name} goes there and back {days} times. How many kilometres is that?",
        [
            f"The way is {pace} * {hours} = <<{pace}*{hours}={way}>>{way} kilometres long.",
            f"There and back it is 2 * {way} = <<2*{way}={2 * way}>>{2 * way} kilometres.",
            f"{days} times that is {days} * {2 * way} = <<{days}*{2 * way}={2 * way * days}>>"
            f"{2 * way * days} kilometres.",
        ],
        2 * way * days,
    )


def half_is_sold(random: Random) -> Problem:
    """Halves and what comes later."""
    name, goods = random.choice(NAMES), random.choice(GOODS)
    half, later = random.randint(6, 40), random.randint(2, 25)
    return (
        f"{name} brings {2 * half} {goods} to the market and sells half of them in the morning. "
        f"At noon {later} more {goods} are brought. How many {goods} are there now?",
        [
            f"In the morning {2 * half} / 2 = <<{2 * half}/2={half}>>{half} {goods} are sold.",
            f"{2 * half} - {half} = <<{2 * half}-{half}={half}>>{half} {goods} stay.",
            f"Now there are {half} + {later} = <<{half}+{later}={half + later}>>"
            f"{half + later} {goods}.",
        ],
        half + later,
    )


TEMPLATES = (buy_and_give, weekly_pay, share_evenly, change_of_a_note, twice_as_many,
             walk_there_and_back, half_is_sold)  # fmt: skip


def problems() -> list[str]:
    """The problems in GSM8K's form: a question, steps with their sums, `####` and a number."""
    random = Random(0)
    written = []
    for number in range(NUM_PROBLEMS):
        question, steps, answer = TEMPLATES[number % len(TEMPLATES)](random)
        written.append("\n".join([f"Question: {question}", f"Answer: {steps[0]}", *steps[1:],
                                  f"#### {answer}"]))  # fmt: skip
    return written


def text() -> str:
    """The prose of primer.txt, then newly generated problems, with blank lines between them."""
    prose = [part for part in PATH.read_text(encoding="utf-8").strip().split("\n\n")
             if not part.startswith("Question:")]  # fmt: skip
    return "\n\n".join([*prose, *problems()]) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
