"""Network and processes."""

# mypy: ignore-errors

import asyncio
import http.client
import os
import smtplib
import socket
import subprocess
import subprocess as sp
import urllib.request
from os import system
from socket import create_connection as dial
from subprocess import run
from urllib.request import urlopen

import httpx
import httpx as web
import redis
from django.core import mail
from django.core.mail import send_mail
from httpx import AsyncClient, Client

client = httpx.Client()
store = redis.Redis()


def plain(context, url):
    return httpx.get(url).json()  # breaks: network


def chained(context, url):
    return web.Client(timeout=5).get(url).raise_for_status().json()  # breaks: network


def in_with(context, url):
    with Client() as one:  # breaks: network
        return one.get(url).text


def of_module(context, url):
    return client.post(url).text + str(store.get("key"))  # breaks: network, network


async def awaited(context, url):
    async with AsyncClient() as one:  # breaks: network
        return (await one.get(url)).text


def of_library(context, url):
    with urllib.request.urlopen(url) as answer, urlopen(url) as other:  # breaks: network
        return [answer.status, other.status]


def by_hand(context, host):
    connection = http.client.HTTPSConnection(host)  # breaks: network
    connection.request("GET", "/")
    return dial((host, 80)).fileno()  # breaks: network


def raw(context):
    return socket.socket().fileno()  # breaks: network


def mailed(context, to):
    with smtplib.SMTP("localhost") as server:  # breaks: network
        server.sendmail("a@example.org", to, "hello")
    send_mail("s", "b", "a@example.org", [to])  # breaks: network
    mail.mail_admins("s", "b")  # breaks: network


def cached(context):
    return redis.Redis.from_url("redis://localhost").get("a")  # breaks: network


def on_any_line(context, url):
    return httpx.get(url).text  # breaks: network


def processes(context, command):
    subprocess.run(command, check=True)  # breaks: process
    sp.Popen(command)  # breaks: process
    run(command)  # breaks: process
    os.system("true")  # breaks: process
    system("true")  # breaks: process
    return os.popen("true").read()  # breaks: process


async def process_of_loop(context):
    await asyncio.create_subprocess_exec("true")  # breaks: process


def in_callback(context, urls):
    return list(map(httpx.get, urls))  # breaks: network


class Api:
    def __init__(self, base):
        self.client = httpx.Client(base_url=base)  # breaks: network

    def orders(self):
        return self.client.get("/orders").json()


def in_class(context, base):
    return Api(base).orders()
