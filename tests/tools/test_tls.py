"""TLS: the name is checked, not the address that was connected to."""

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tools.outside import Call, Server, answering, reaching
from tools import NotSent
from tools.http import HttpClient

Serve = Callable[..., Server]


@dataclass(frozen=True)
class Certificate:
    """A certificate for shop.example that signs itself."""

    certificate: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certificate)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate of these tests")
    place = tmp_path_factory.mktemp("tls")
    made = Certificate(place / "shop.pem", place / "shop.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        + ["-subj", "/CN=shop.example", "-addext", "subjectAltName=DNS:shop.example", "-days", "2"]
        + ["-keyout", str(made.key), "-out", str(made.certificate)],
        check=True,
        capture_output=True,
    )
    return made


def https(server: Server, name: str, ssl_context: ssl.SSLContext | None = None) -> HttpClient:
    names = {"shop__example": ["127.0.0.1"], "other__example": ["127.0.0.1"]}
    reach = reaching(internal=["127.0.0.1"], **names)
    return HttpClient(f"https://{name}:{server.port}", reach=reach, ssl_context=ssl_context, timeout=30)


def test_the_address_is_pinned_and_the_name_is_proved(serve: Serve, shop: Certificate) -> None:
    server = serve(answering(200, "safe"), tls=shop.server())

    assert https(server, "shop.example", shop.client()).post(Call(), "/refunds", json={}) == "safe"
    assert server.names == ["shop.example"]
    assert f"host: shop.example:{server.port}".encode() in server.requests[0].lower()


@pytest.mark.parametrize(("name", "trusted"), [("other.example", True), ("shop.example", False)])
def test_a_certificate_that_does_not_fit_ends_the_call_before_its_first_byte(
    serve: Serve, shop: Certificate, name: str, trusted: bool
) -> None:
    server = serve(answering(200, "who am I"), tls=shop.server())

    with pytest.raises(NotSent, match="CERTIFICATE_VERIFY_FAILED"):
        https(server, name, shop.client() if trusted else None).post(Call(), "/refunds", json={})
    assert server.requests == []


def test_a_server_that_speaks_only_old_tls_is_not_sent_anything(serve: Serve, shop: Certificate) -> None:
    old = shop.server()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    strict = shop.client()
    strict.minimum_version = ssl.TLSVersion.TLSv1_3

    with pytest.raises(NotSent):
        https(serve(answering(200), tls=old), "shop.example", strict).post(Call(), "/refunds")


def test_a_read_is_not_led_from_https_to_http(serve: Serve, shop: Certificate) -> None:
    plain = serve(answering(200, "anybody can read this"))
    server = serve(answering(302, Location=plain.url), tls=shop.server())

    with pytest.raises(Exception, match="redirects from https"):
        https(server, "shop.example", shop.client()).get(Call(), "/")
    assert plain.connections == 0


def test_a_connection_reset_during_the_handshake_is_not_sent(serve: Serve) -> None:
    def cut(connection: socket.socket, server: Server) -> None:
        connection.recv(20)  # part of the hello; closing over unread bytes resets

    with pytest.raises(NotSent):
        https(serve(cut), "shop.example").post(Call(), "/refunds")
