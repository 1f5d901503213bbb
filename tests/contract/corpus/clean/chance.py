"""Chance from the context or from a seed, and identities that follow from names."""

# mypy: ignore-errors

import hashlib
import hmac
import random
import secrets
import uuid
from random import Random
from uuid import NAMESPACE_URL, uuid5

SPACE = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


def drawn(context):
    return context.random() < 0.5


def named(context, order):
    return [str(uuid5(NAMESPACE_URL, order)), str(uuid.uuid5(SPACE, order)), str(uuid.uuid3(SPACE, order))]


def new_id(context):
    return str(context.uuid4())


def sample(context, items, seed):
    generator = random.Random(seed)
    generator.shuffle(items)
    return generator.sample(items, 2)


def shuffled(context, items):
    return Random(context.random()).sample(items, len(items))


def inline(context, seed):
    return random.Random(seed).random()


def compared(context, given, expected):
    return secrets.compare_digest(given, expected) and hmac.compare_digest(given, expected)


def fingerprint(context, text):
    return hashlib.sha256(text.encode()).hexdigest()


def loop_variable(context, choices):
    return [random.weight for random in choices if random.weight]


def local_function(context, items):
    def choice(values):
        return values[0]

    def shuffle(values):
        return sorted(values)

    return choice(shuffle(items))


def picked(context, items):
    return items[int(context.random() * len(items))]
