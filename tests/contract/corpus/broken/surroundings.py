"""The process a step happens to run in, and what outlives the step there."""

# mypy: ignore-errors

import itertools
import os
import socket
import sys
from collections import defaultdict
from os import environ, getenv

from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.db import connection

CACHE = {}
SEEN = set()
TOTALS = defaultdict(int)
numbers = itertools.count()
count = 0


class Config:
    limit = 10


def environment(context):
    return [
        os.environ["HOME"],  # breaks: environment
        os.environ.get("HOME"),  # breaks: environment
        environ["HOME"],  # breaks: environment
        os.getenv("HOME"),  # breaks: environment
        getenv("HOME"),  # breaks: environment
        "HOME" in os.environ,  # breaks: environment
    ]


def changed_environment(context):
    os.environ["MODE"] = "fast"  # breaks: environment


def machine(context):
    return [os.getpid(), socket.gethostname(), sys.argv]  # breaks: environment, environment, environment


def remembered(context, key):
    if key not in CACHE:
        CACHE[key] = len(key)  # breaks: state
    return CACHE[key]


def collected(context, item):
    SEEN.add(item)  # breaks: state
    CACHE.update(item=item)  # breaks: state
    CACHE.setdefault("list", []).append(item)  # breaks: state
    del CACHE[item]  # breaks: state


def rebound(context):
    global count
    count += 1  # breaks: state
    return count


def summed(context, key):
    TOTALS[key] += 1  # breaks: state


def of_class(context):
    Config.limit = 20  # breaks: state


def counted(context):
    return next(numbers)  # breaks: state


def default_keeps(context, item, items=[]):  # noqa: B006
    items.append(item)  # breaks: state
    return items


def _remember(key):
    CACHE[key] = 1  # breaks: state


def through_helper(context):
    _remember("a")


def in_lambda(context, items):
    return list(filter(lambda item: SEEN.add(item), items))  # breaks: state


def shared(context, key):
    cache.set(key, 1)  # breaks: state
    return cache.get(key)  # breaks: state


def rows(context, name):
    User.objects.create(username=name)  # breaks: database
    User.objects.filter(username=name).update(is_active=False)  # breaks: database
    User.objects.get_or_create(username=name)  # breaks: database
    User.objects.bulk_create([])  # breaks: database
    User.objects.filter(is_active=False).exclude(pk=1).delete()  # breaks: database


def of_instance(context, name):
    user = User.objects.get(username=name)
    user.is_active = False
    user.save()  # breaks: database
    User(username=name).save()  # breaks: database
    found = User.objects.filter(username=name).first()
    if found:
        found.delete()  # breaks: database
    user.groups.add(Group.objects.first())
    user.groups.create(name="x")  # breaks: database


def in_loop(context):
    for user in User.objects.filter(is_active=True):
        user.save()  # breaks: database
    users = User.objects.all()
    [user.save(update_fields=["email"]) for user in users]  # breaks: database


def _deactivate(user: User):
    user.is_active = False
    user.save()  # breaks: database


def through_parameter(context, name):
    _deactivate(User.objects.get(username=name))


async def of_async(context, name):
    user = await User.objects.aget(username=name)
    await user.asave()  # breaks: database
    await User.objects.acreate(username=name)  # breaks: database


def by_hand(context):
    with connection.cursor() as cursor:  # breaks: database
        cursor.execute("UPDATE t SET a = 1")
