"""Sentences like those of published datasets, with the short text that a person would expect."""

from __future__ import annotations

import pytest

from losh.short_text import shorten

# long | short of mode `subject` | short of mode `subject_with_position`, where it differs
SENTENCES = """
a man is riding a horse | a man
there is a bird that is standing on a branch | a bird
there are two red squares moving left | two red squares
on the left there is a man standing | a man | on the left a man
in the middle of the picture a dog is jumping | a dog | in the middle a dog
it is a brown dog running on the beach | a brown dog
I can see a big dog running | a big dog
a man and a woman are dancing in the room | a man and a woman
a man and a woman dancing together | a man and a woman
a dog, a cat and a rabbit are playing | a dog, a cat and a rabbit
girl on the left and boy on the right are running | girl and boy \
    | girl on the left and boy on the right
two men playing tennis on the court | two men
three sheep grazing on the grass | three sheep
both pandas are playing | both pandas
one of the dogs is running | one of the dogs
a group of people standing on the road | a group of people
people walking in the background | people | people in the background
a person wearing a red shirt riding a bicycle | a person wearing a red shirt
a man is wearing a red hat | a man wearing a red hat
the man who is wearing a hat is talking | the man wearing a hat
a person dressed in black walking with an umbrella | a person dressed in black
a man in the middle of the road wearing a helmet riding a motorbike | a man wearing a helmet \
    | a man in the middle of the road wearing a helmet
a man in a blue shirt and black pants is pushing the car | a man in a blue shirt and black pants
a woman in a pink dress standing next to a man in a black suit | a woman in a pink dress
a man in running shoes walking | a man in running shoes
a girl in pink dotted dress is standing near the wall | a girl in pink dotted dress
a giraffe on the left eating leaves from a tree | a giraffe | a giraffe on the left
the second giraffe from the left | the giraffe | the second giraffe from the left
third car parking from the left | car | third car from the left
the second from left man is dancing | the man | the second from left man
a man who plays the guitar on the left side | a man | a man on the left side
a train on the right track moving forward | a train | a train on the right track
a light brown cat on the right side of the image is sleeping | a light brown cat \
    | a light brown cat on the right side
a white duck swimming in front of two other ducks | a white duck
the person farthest on the left | the person | the person on the left
the dog closest to the camera | the dog
the leftmost | the leftmost
second from the left in red | second from the left in red
a pink ball next to the chair is rolling | a pink ball
the left ball | the ball | the left ball
the left bowling ball | the bowling ball | the left bowling ball
bowling ball | bowling ball
racing car | racing car
toy racing car running on the left | toy racing car | toy racing car on the left
running dog | running dog
a flying white bird | a flying white bird
lady standing | lady
snail crawling slowly | snail
man in black standing on the bottom left | man in black | man in black on the bottom left
a jeep jumping on the sand dune | a jeep
the car parked behind the truck | the car
a skateboarder jumps over a ramp | a skateboarder
man kicks a ball into the goal | man
a boy catch the ball | a boy
a person on a skateboard | a person
orange ball in the blue bowl | orange ball
a frisbee in the mouth of the dog | a frisbee
a dark brown dog with a white tail running after a frisbee | a dark brown dog with a white tail
a man with a dog is walking | a man | a man with a dog
a guy with long hair does a backflip | a guy with long hair
the white ball being kicked by the boy in red | the white ball
a snake held in a hand | a snake
a man walkng with a dog | a man
a wman siting on a chair | a wman
A man, wearing a black jacket, is walking. | A man, wearing a black jacket
small red striped circle moving left below the blue square | small red striped circle
green triangle that is circling | green triangle
the large blue star on the left moving up | the large blue star | the large blue star on the left
the square rolling left | the square
the square left of the circle | the square
blue cross staying still | blue cross
""".strip().splitlines()
CASES = [[part.strip() for part in line.split("|")] for line in SENTENCES]


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_subject(case: list[str]) -> None:
    assert shorten([case[0]], "subject")[0].text == case[1]


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_subject_with_position(case: list[str]) -> None:
    assert shorten([case[0]], "subject_with_position")[0].text == case[-1]


def test_there_are_fifty_of_them() -> None:
    assert len(CASES) >= 50
    assert len({case[0] for case in CASES}) == len(CASES)


STEPS = """
yellow cat | whole
there is a yellow cat | opening
a yellow cat is asleep | auxiliary
the yellow cat that sleeps | relative
yellow cat sleeping | participle
a yellow cat jumps over a wall | verb
yellow cat under a car | relation
yellow cat sleeping on the left | participle+position
a man is sitting in a black shirt | auxiliary+appearance
""".strip().splitlines()


@pytest.mark.parametrize("line", STEPS)
def test_each_row_says_which_step_decided_it(line: str) -> None:
    sentence, step = (part.strip() for part in line.split("|"))
    assert shorten([sentence], "subject_with_position")[0].step == step


def test_subject_mode_names_what_it_drops() -> None:
    assert shorten(["the left cat is asleep"], "subject")[0].step == "auxiliary+no-position"
    assert shorten(["a man on a horse is waving"], "subject")[0].step == "auxiliary+no-relation"
