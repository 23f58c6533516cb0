"""The shipped nginx.conf, run on ports of its own; nothing of it is changed but places."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rag.cli.own_services import free_ports
from tests.certificates import self_signed
from tests.waiting import until

CONF = Path(__file__).resolve().parents[2] / "deploy" / "nginx" / "nginx.conf"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def find_nginx() -> str | None:
    """Return the nginx of this machine; Debian keeps it where only root looks."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True, slots=True)
class Nginx:
    """Where a running nginx is."""

    port: int
    plain_port: int
    authority_file: Path
    access_log: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


def rendered(folder: Path, ports: tuple[int, int], gateways: Sequence[tuple[int, int]], **changes: str) -> str:
    """Return the configuration with places on this machine.

    Args:
        folder: Where all its files are.
        ports: For TLS, and for plain text.
        gateways: The HTTP and the gRPC port of each.
        changes: More texts to replace, such as a timeout; they must be there.
    """
    (http_1, grpc_1), (http_2, grpc_2) = gateways
    places = {
        "gateway-1:8080": f"127.0.0.1:{http_1}",
        "gateway-2:8080": f"127.0.0.1:{http_2}",
        "gateway-1:50050": f"127.0.0.1:{grpc_1}",
        "gateway-2:50050": f"127.0.0.1:{grpc_2}",
        "listen 443 ssl": f"listen 127.0.0.1:{ports[0]} ssl",
        "listen 80;": f"listen 127.0.0.1:{ports[1]};",
        "/etc/nginx/tls/": f"{folder}/",
        "/var/log/nginx/": f"{folder}/",
        "/run/nginx.pid": f"{folder}/nginx.pid",
        "worker_processes auto;": "worker_processes 1;\ndaemon off;",
        "worker_connections 16384;": "worker_connections 512;",
        "\nhttp {\n": "\nhttp {\n" + "".join(f"    {name}_temp_path {folder}/{name};\n" for name in _TEMPORARY),
        **changes,
    }
    text = CONF.read_text()
    for old, new in places.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@asynccontextmanager
async def running_nginx(folder: Path, gateways: Sequence[tuple[int, int]], **changes: str) -> AsyncIterator[Nginx]:
    """Run nginx in front of two gateways for the length of a block."""
    binary = find_nginx()
    assert binary
    tls, plain = free_ports(2)
    key, certificate = self_signed()
    (folder / "privkey.pem").write_bytes(key)
    (folder / "fullchain.pem").write_bytes(certificate)
    (folder / "nginx.conf").write_text(rendered(folder, (tls, plain), gateways, **changes))
    process = await asyncio.create_subprocess_exec(
        binary, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")
    )
    try:
        await until(lambda: _listens(tls))
        yield Nginx(tls, plain, folder / "fullchain.pem", folder / "access.log")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
