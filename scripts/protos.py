"""Generate rag/v1 from protos/, or check that what is there is what would be generated."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "rag/v1"


def main() -> None:
    """Write the stubs, or compare them and exit 1 on a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the stubs are stale")
    if not parser.parse_args().check:
        generate(ROOT)
        return
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        if stale := sorted(differing(Path(fresh))):
            sys.exit(f"stale: {', '.join(stale)}; run `make protos`")


def generate(target: Path) -> None:
    """Generate messages, stubs and their types below `target`."""
    protos = sorted((ROOT / "protos" / PACKAGE).glob("*.proto"))
    with_services = [proto for proto in protos if "\nservice " in proto.read_text()]
    (target / PACKAGE).mkdir(parents=True, exist_ok=True)
    run(protos, f"--python_out={target}", f"--mypy_out=quiet:{target}")
    run(with_services, f"--grpc_python_out={target}", f"--mypy_grpc_out=quiet:{target}")


def run(protos: list[Path], *outputs: str) -> None:
    """Run protoc once, with the plugins of this environment."""
    plugins = [
        f"--plugin={name}={Path(sys.executable).parent / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
    ]
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{ROOT / 'protos'}", f"-I{well_known}", *plugins, *outputs, *map(str, protos)]
    if protoc.main(arguments):
        sys.exit("protoc failed")


def differing(fresh: Path) -> set[str]:
    """Return the names of the files that differ from, or exist only in, one of the two."""
    here = {path.name: path.read_bytes() for path in (ROOT / PACKAGE).glob("*_pb2*.py*")}
    there = {path.name: path.read_bytes() for path in (fresh / PACKAGE).glob("*_pb2*.py*")}
    return {name for name in here.keys() | there.keys() if here.get(name) != there.get(name)}


if __name__ == "__main__":
    main()
