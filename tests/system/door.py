"""A second gateway in front of a running tree, one that asks everybody who they are; and tenants with keys and tokens for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jwt

from rag import own_redis
from rag.cli.own_services import free_ports
from tests.system.processes import ROOT, Tree, serving

ISSUER, AUDIENCE = "https://identity.example", "ragmesh"
SECRET = "a secret that two parties share, and nobody else"


@dataclass(frozen=True, slots=True)
class Door:
    """Where the gateway that asks is reached."""

    tree: Tree
    grpc_port: int
    http_port: int
    environment: dict[str, str]
    log: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def key(self, tenant: str, *scopes: str) -> str:
        """Make an API key as an operator does."""
        wanted = [argument for scope in scopes or ("admin",) for argument in ("--scope", scope)]
        command = [sys.executable, "-m", "rag.cli", "keys", "create", "--tenant", tenant, "--name", "test", "--json"]
        done = subprocess.run([*command, *wanted], cwd=ROOT, env=self.environment, capture_output=True, check=True)
        return str(json.loads(done.stdout)["secret"])

    def token(self, tenant: str, scope: str = "admin", **claims: object) -> str:
        """Make a token as an identity provider does."""
        now = int(time.time())
        own = {"iss": ISSUER, "aud": AUDIENCE, "sub": f"user-of-{tenant}", "iat": now, "exp": now + 3600}
        return jwt.encode({**own, "tenant": tenant, "scope": scope, **claims}, SECRET, "HS256")


@contextmanager
def open_door(tree: Tree, folder: Path, **settings: str) -> Iterator[Door]:
    """Run one more gateway in front of a tree, with authentication on."""
    grpc_port, http_port = free_ports(2)
    data = tree.log.parent
    environment = {
        **os.environ,
        **{f"{name.upper()}_ADDRESS": f"127.0.0.1:{port}" for name, port in tree.ports.items() if name != "gateway"},
        "GATEWAY_PORT": str(grpc_port),
        "GATEWAY_HTTP_PORT": str(http_port),
        "GATEWAY_AUTH": "on",
        "GATEWAY_JWT_SECRET": SECRET,
        "GATEWAY_JWT_ISSUER": ISSUER,
        "GATEWAY_JWT_AUDIENCE": AUDIENCE,
        "REDIS_URL": own_redis.url_of(data),
        "RAG_DATA_DIR": str(data),
        **settings,
    }
    door = Door(tree, grpc_port, http_port, environment, folder / "door.log")
    with serving("services.gateway", door.address, environment, door.log):
        yield door
