"""Turns whatever a broken document makes a library raise into one error with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lxml import etree

from rag.runtime.errors import InvalidInput


@contextmanager
def named(reason: str, message: str) -> Iterator[None]:
    """Raise any error of the block as `InvalidInput` with this reason and sentence, except one that has its own."""
    try:
        yield
    except (InvalidInput, MemoryError):
        raise
    except Exception as error:  # a library fed with a broken document raises anything
        if isinstance(error, etree.XMLSyntaxError) and error.code == etree.ErrorTypes.ERR_NO_MEMORY:
            raise MemoryError from error
        raise InvalidInput(message, reason) from error


def xml_parser() -> etree.XMLParser:
    """A parser for XML that nobody vouches for: it mends what it can, expands no entity and fetches nothing."""
    return etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, recover=True, remove_comments=True)
