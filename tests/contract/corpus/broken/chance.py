"""Chance and identities."""

# mypy: ignore-errors

import os
import random
import random as r
import secrets
import uuid
from os import urandom
from random import Random, choice
from random import shuffle as mix
from secrets import token_hex
from uuid import uuid4

from tests.contract.corpus.broken.elsewhere import fresh

generator = random.Random(7)
unseeded = Random()
new = uuid.uuid4


def plain(context):
    return random.random()  # breaks: random


def aliases(context, items):
    mix(items)  # breaks: random
    return [r.randint(1, 6), choice(items)]  # breaks: random, random


def of_secrets(context):
    return secrets.token_urlsafe() + token_hex(8)  # breaks: random, random


def of_system(context):
    return (os.urandom(8) + urandom(8)).hex()  # breaks: random


def identities(context):
    return [str(uuid.uuid1()), str(uuid4())]  # breaks: random, random


def without_seed(context):
    own = random.Random()  # breaks: random
    return [own.random(), random.SystemRandom().random()]  # breaks: random


def of_module(context):
    return generator.random() + unseeded.random()  # breaks: random, random


def assigned(context):
    return str(new())  # breaks: random


def as_key(context, items):
    return sorted(items, key=lambda item: r.random())  # breaks: random


def as_reference(context, items):
    return sorted(items, key=random.random)  # breaks: random


def elsewhere(context):
    return fresh()


class Names:
    def make(self):
        return str(uuid.uuid4())  # breaks: random


def in_method(context):
    return Names().make()


def reseeded(context):
    random.seed(7)  # breaks: random


async def awaited(context, items):
    async def pick():
        return choice(items)  # breaks: random

    return await pick()
