"""Certificates are verified against the name in the URL, although the connection goes to an address."""

import datetime
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kasal_egress import UrlPolicy, open_egress
from kasal_egress.errors import EgressUntrustedError
from kasal_egress.resolver import Resolve

Serve = Callable[..., Awaitable[int]]
Names = Callable[..., Resolve]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A PEM file with the key and the self-signed certificate of models.example."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "models.example")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("models.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "models.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return file


async def hello(request: web.Request) -> web.Response:
    return web.Response(text=request.headers["Host"])


async def start(serve: Serve, certificate: Path, seen_names: list[str | None]) -> int:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    server.sni_callback = lambda _socket, name, _context: seen_names.append(name)
    return await serve(hello, tls=server)


async def test_the_name_reaches_the_server_as_host_and_sni(
    serve: Serve, local: UrlPolicy, certificate: Path, names: Names
) -> None:
    seen_names: list[str | None] = []
    port = await start(serve, certificate, seen_names)
    trusting = ssl.create_default_context(cafile=str(certificate))
    resolve = names({"models.example": [["127.0.0.1"]]})
    async with (
        open_egress(local, resolve=resolve, tls=trusting) as egress,
        egress.request("GET", f"https://models.example:{port}/") as answer,
    ):
        assert await answer.read() == f"models.example:{port}".encode()
    assert seen_names == ["models.example"]


async def test_a_certificate_of_another_name_is_not_accepted(
    serve: Serve, local: UrlPolicy, certificate: Path, names: Names
) -> None:
    port = await start(serve, certificate, [])
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with open_egress(local, resolve=names({"other.example": [["127.0.0.1"]]}), tls=trusting) as egress:
        with pytest.raises(EgressUntrustedError):
            async with egress.request("GET", f"https://other.example:{port}/"):
                pass


async def test_a_certificate_that_nobody_vouches_for_is_not_accepted(
    serve: Serve, local: UrlPolicy, certificate: Path, names: Names
) -> None:
    port = await start(serve, certificate, [])
    async with open_egress(local, resolve=names({"models.example": [["127.0.0.1"]]})) as egress:
        with pytest.raises(EgressUntrustedError):
            async with egress.request("GET", f"https://models.example:{port}/"):
                pass


async def test_a_context_that_verifies_nothing_is_not_used(local: UrlPolicy) -> None:
    careless = ssl.create_default_context()
    careless.check_hostname = False
    with pytest.raises(ValueError, match="verify"):
        async with open_egress(local, tls=careless):
            pass
