"""Waiting, threads and tasks."""

# mypy: ignore-errors

import asyncio
import concurrent.futures
import multiprocessing
import threading
import time
from asyncio import create_task
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from time import sleep as pause


def slept(context):
    time.sleep(1)  # breaks: sleep


def slept_by_alias(context):
    pause(0.5)  # breaks: sleep


async def slept_in_loop(context):
    await asyncio.sleep(1)  # breaks: sleep


def threads(context, work):
    threading.Thread(target=print).start()  # breaks: concurrency
    thread = Thread(target=work)  # breaks: concurrency
    thread.start()
    threading.Timer(1, print).start()  # breaks: concurrency


def pools(context, items):
    with ThreadPoolExecutor() as pool:  # breaks: concurrency
        first = list(pool.map(str, items))
    with concurrent.futures.ProcessPoolExecutor() as pool:  # breaks: concurrency
        return first + list(pool.map(str, items))


def processes(context):
    multiprocessing.Process(target=print).start()  # breaks: concurrency


async def tasks(context, one, other):
    first = asyncio.create_task(one())  # breaks: concurrency
    second = create_task(other())  # breaks: concurrency
    asyncio.ensure_future(one())  # breaks: concurrency
    await asyncio.gather(first, second)  # breaks: concurrency
    async with asyncio.TaskGroup() as group:  # breaks: concurrency
        group.create_task(one())
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, print)  # breaks: concurrency
    asyncio.get_running_loop().create_task(one())  # breaks: concurrency
    await asyncio.to_thread(print)  # breaks: concurrency
    return loop.time()  # breaks: clock
