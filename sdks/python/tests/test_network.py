"""Real sockets and real TLS: errors that say what to do."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from marque import (
    ConfigurationError,
    KeyFetchError,
    Marque,
    MarqueError,
    NetworkError,
    ProtocolError,
    RequestTimeoutError,
    TLSError,
    Verifier,
)
from tests.fakes import API, Issuer

Handler = Callable[[socket.socket], None]


def certificate(folder: Path, name: str = "localhost", days: tuple[int, int] = (-1, 1)) -> Path:
    """A PEM file with a self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    if name == "localhost":
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / f"{name}-{days[0]}.pem"
    path.write_bytes(built.public_bytes(Encoding.PEM) + private)
    return path


class Endpoint:
    """Accepts connections and hands them to a handler, over TLS if it has a certificate."""

    def __init__(self, handler: Handler, pem: Path | None) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.context = None
        if pem is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(pem)
        self.handler = handler
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            try:
                connection.settimeout(20)
                with connection:
                    if self.context is None:
                        self.handler(connection)
                    else:
                        with self.context.wrap_socket(connection, server_side=True) as secure:
                            self.handler(secure)
            except OSError:
                continue

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(20)


@pytest.fixture
def endpoint() -> Iterator[Callable[..., Endpoint]]:
    made: list[Endpoint] = []

    def build(handler: Handler, pem: Path | None) -> Endpoint:
        made.append(Endpoint(handler, pem))
        return made[-1]

    yield build
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("ca"))


def read_request(connection: socket.socket) -> None:
    """To its end: what is left unread would reset the connection."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65536) or b"\r\n\r\n"
    head, _, body = got.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if b"ontent-" in line[:8]]
    want = max((int(length) for length in lengths if length.strip().isdigit()), default=0)
    while len(body) < want:
        body += connection.recv(65536)


def says(text: bytes) -> Handler:
    def handler(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(text)

    return handler


def hangs(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def fails_with(kind: type[MarqueError], issuer: str, **options: Any) -> str:
    with (
        Marque(issuer, client_id="sa_1", client_secret="mqs_x", retries=0, **options) as client,
        pytest.raises(kind) as caught,
    ):
        client.token(resource=API)
    assert caught.value.__context__ is None
    return str(caught.value)


def test_a_certificate_of_a_stranger_names_the_setting(
    endpoint: Callable[..., Endpoint], pem: Path
) -> None:
    port = endpoint(says(b""), pem).port
    text = fails_with(TLSError, f"https://localhost:{port}")
    assert f"the certificate of localhost:{port} is refused" in text
    assert "ca_file" in text
    assert "MARQUE_CA_FILE" in text


def test_another_authority_is_no_better(
    endpoint: Callable[..., Endpoint], pem: Path, tmp_path: Path
) -> None:
    port = endpoint(says(b""), pem).port
    other = certificate(tmp_path, "localhost")
    assert "ca_file" in fails_with(TLSError, f"https://localhost:{port}", ca_file=other)


def test_a_certificate_for_another_name(endpoint: Callable[..., Endpoint], tmp_path: Path) -> None:
    other = certificate(tmp_path, "elsewhere.example")
    port = endpoint(says(b""), other).port
    text = fails_with(TLSError, f"https://localhost:{port}", ca_file=other)
    assert "use the host name that the certificate is made out for" in text


def test_an_expired_certificate(endpoint: Callable[..., Endpoint], tmp_path: Path) -> None:
    old = certificate(tmp_path, "localhost", (-3, -2))
    port = endpoint(says(b""), old).port
    text = fails_with(TLSError, f"https://localhost:{port}", ca_file=old)
    assert "check this machine's clock" in text


def test_a_port_that_speaks_no_tls(endpoint: Callable[..., Endpoint], pem: Path) -> None:
    port = endpoint(lambda c: c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), None).port
    text = fails_with(TLSError, f"https://localhost:{port}", ca_file=pem)
    assert "does not speak TLS" in text


def test_nobody_listens(pem: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    text = fails_with(NetworkError, f"https://localhost:{port}", ca_file=pem)
    assert f"cannot connect to localhost:{port}" in text


def test_a_server_that_hangs(endpoint: Callable[..., Endpoint], pem: Path) -> None:
    port = endpoint(hangs, pem).port
    issuer = f"https://localhost:{port}"
    text = fails_with(RequestTimeoutError, issuer, ca_file=pem, token_timeout=0.05)
    assert "no whole answer from localhost in 0.05 s" in text


def test_a_header_that_cannot_be_sent(endpoint: Callable[..., Endpoint], pem: Path) -> None:
    port = endpoint(says(b""), pem).port
    issuer = f"https://localhost:{port}"
    client = Marque(issuer, client_id="sa_1", client_secret="mqs_x", ca_file=pem)
    with client, pytest.raises(ConfigurationError, match="cannot be sent") as caught:
        client.tokens.introspect(token="x", headers={"X-A": "topsecret\r\nX-B: c"})
    assert "topsecret" not in str(caught.value)


def drips(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    pause = threading.Event()
    while not pause.wait(0.01):
        connection.sendall(b" ")


def test_a_server_that_drips(endpoint: Callable[..., Endpoint], pem: Path) -> None:
    port = endpoint(drips, pem).port
    issuer = f"https://localhost:{port}"
    fails_with(RequestTimeoutError, issuer, ca_file=pem, token_timeout=0.1)


@pytest.mark.parametrize(
    ("text", "kind", "part"),
    [
        (b"", NetworkError, "lost before an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", ProtocolError, "does not answer in HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", ProtocolError, "cut short"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n", ProtocolError, "cut short"),
    ],
    ids=["closed", "ssh", "truncated", "announced"],
)
def test_what_answers_is_no_marque(
    endpoint: Callable[..., Endpoint], pem: Path, text: bytes, kind: type[MarqueError], part: str
) -> None:
    port = endpoint(says(text), pem).port
    assert part in fails_with(kind, f"https://localhost:{port}", ca_file=pem)


def test_a_verifier_says_why_it_has_no_keys(endpoint: Callable[..., Endpoint], pem: Path) -> None:
    port = endpoint(says(b""), pem).port
    with (
        Verifier(f"https://localhost:{port}") as verifier,
        pytest.raises(KeyFetchError, match="MARQUE_CA_FILE"),
    ):
        verifier.verify(Issuer().token(), audience=API)
