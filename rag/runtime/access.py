"""Who calls, and what a method asks of its caller: the option `requires` in the contract, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from google.protobuf import descriptor_pool

from rag.runtime.errors import PermissionDenied
from rag.v1 import access_pb2

QUERY, INGEST, ADMIN, OPERATOR, INTERNAL = "query", "ingest", "admin", "operator", "internal"
TENANT_SCOPES = frozenset({QUERY, INGEST, ADMIN})
"""What a key may carry. An admin may do all in his tenant."""
OPERATOR_SCOPES = TENANT_SCOPES | {OPERATOR}
_IMPLIED = {ADMIN: {QUERY, INGEST}, OPERATOR: TENANT_SCOPES, INTERNAL: OPERATOR_SCOPES}


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller that was believed."""

    tenant: str
    scopes: frozenset[str]
    subject: str = ""
    """Who it is within the tenant: a key's id or a token's `sub`. No secret."""

    def may(self, scope: str) -> bool:
        """Tell whether a scope is among the caller's, or implied by one."""
        return scope in self.scopes or any(scope in _IMPLIED.get(own, ()) for own in self.scopes)


@cache
def required_scope(service: str, method: str) -> str:
    """Return what a method asks for, such as `query`; empty for one that says nothing, which nobody may call.

    Args:
        service: Such as `rag.v1.RetrieverService`; its module must be imported.
        method: Such as `Retrieve`.
    """
    options = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method].GetOptions()
    name = access_pb2.Scope.Name(options.Extensions[access_pb2.requires]).removeprefix("SCOPE_").lower()
    return "" if name == "unspecified" else name


def check_scope(identity: Identity, scope: str) -> None:
    """Let a caller pass who may do this.

    Raises:
        PermissionDenied: INTERNAL_METHOD or SCOPE_MISSING.
    """
    if scope and identity.may(scope):
        return
    if scope in {INTERNAL, ""}:
        raise PermissionDenied("This method is for the services among themselves.", "INTERNAL_METHOD")
    raise PermissionDenied(f"This needs the scope `{scope}`, which the credential does not have.", "SCOPE_MISSING")
