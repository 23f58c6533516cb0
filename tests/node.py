"""The Node example, installed in a folder of its own from its lock."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "node"
_INSTALL_S = 240
_RUN_S = 60


@dataclass(frozen=True, slots=True)
class NodeClient:
    """The installed example."""

    folder: Path

    async def ask(self, question: str, address: str, **settings: str) -> tuple[int, str, str]:
        """Run it; return its exit code, what it printed, and what it said on stderr."""
        environment = {**_without_keys(os.environ), "RAGMESH_ADDRESS": address, "RAGMESH_PROTOS": str(ROOT / "protos")}
        process = await asyncio.create_subprocess_exec(
            "node",
            "ask.mjs",
            question,
            cwd=self.folder,
            env={**environment, **settings},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(_RUN_S):
            out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()


def installed(folder: Path) -> NodeClient:
    """Install the example; skip the test where that cannot be done, with the reason. Where node is there, CI must."""
    missing = [name for name in ("node", "npm") if not shutil.which(name)]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed")
    target = folder / "node"
    shutil.copytree(EXAMPLE, target, ignore=shutil.ignore_patterns("node_modules"))
    try:
        done = subprocess.run(
            ["npm", "ci"], cwd=target, capture_output=True, text=True, timeout=_INSTALL_S, check=False
        )
        why = "" if done.returncode == 0 else done.stderr.strip()[-300:]
    except subprocess.TimeoutExpired:
        why = f"npm ci took longer than {_INSTALL_S} s"
    if why and os.environ.get("CI") == "true":
        pytest.fail(f"the packages of examples/node cannot be installed: {why}")
    if why:
        pytest.skip(f"the packages of examples/node cannot be installed: {why}")
    return NodeClient(target)


def _without_keys(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("RAGMESH_")}
