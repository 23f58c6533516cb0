"""Requests of any kind, well formed but for what a hostile client writes into a field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from rag.v1 import retriever_pb2

HOSTILE = [
    "",
    " ",
    "*",
    "%",
    "..",
    "../../etc/passwd",
    "a/b",
    "a:b",
    "documents",
    "document",
    "deleted",
    "rag:*",
    "'",
    '"',
    "\\",
    '\\" or true or \\"',
    '" or tenant != "',
    '"] or tenant in ["',
    "' or 1==1 --",
    "x' || tenant != 'x",
    "true",
    "null",
    "{x}",
    "${tenant}",
    "a\r\nb",
    "a\x00b",
    "\u202eb\u200f",
    "ｔｅｎａｎｔ",
    "\U0001f600\u0301",
    "x" * 10_000,
    "bnVsbA",
    "WzBd",
    "http://127.0.0.1:6379/",
    "file:///etc/passwd",
]

DEFAULTS: Mapping[str, object] = {
    "content_hash": "0" * 64,
    "document_id": "mine",
    "document_ids": "mine",
    "job_id": "job_mine",
    "id": "psg_mine",
    "key": "team",
    "after_document_id": "",
    "page_token": "",
    "request_id": "",
    "url": "https://mesh.invalid/a.txt",
    "analyzer": "plain",
    "page_size": 50,
    "top_k": 20,
    "max_tokens": 50,
    "passage_count": 1,
    "char_end": 1,
    "chunk": b"abc",
    "size_bytes": 3,
    "action": retriever_pb2.REBUILD_ACTION_CANCEL,
    "min_score": -1.0,
    "accepted_until_us": 1,
}
"""What makes a request well formed, by a field's name; other texts are a word, other numbers 0."""


@dataclass(frozen=True)
class Maker:
    """Makes requests. `known` are the defaults that depend on what runs, such as the model's name."""

    known: Mapping[str, object] = field(default_factory=dict)

    def streams(self, method: MethodDescriptor) -> list[list[Message]]:
        """Requests that together set every field: lists of one message, or of each part of a stream in order."""
        made = list(self.messages(method.input_type))
        parts = max([len(oneof.fields) for oneof in _oneofs(method.input_type)]) if method.client_streaming else 1
        return [made[at : at + parts] for at in range(0, len(made), parts)]

    def messages(self, kind: Descriptor) -> Iterator[Message]:
        """Messages of one type: as many as it takes to set every member of every oneof."""
        rounds = max([len(oneof.fields) for oneof in _oneofs(kind)], default=1)
        inner = max([len(list(self.messages(part))) for part in _parts(kind)], default=1)
        for turn in range(rounds * inner):
            yield self._message(kind, turn)

    def _message(self, kind: Descriptor, turn: int) -> Message:
        message = GetMessageClass(kind)()
        chosen = {oneof.fields[turn % len(oneof.fields)].name for oneof in _oneofs(kind)}
        later = turn // max([len(oneof.fields) for oneof in _oneofs(kind)], default=1)
        for part in kind.fields:
            if part in _choices(kind) and part.name not in chosen:
                continue
            self._fill(message, part, later if part.name in chosen else turn)
        return message

    def _fill(self, message: Message, part: FieldDescriptor, turn: int) -> None:
        if _is_map(part):
            value = part.message_type.fields_by_name["value"].message_type
            getattr(message, part.name)["team"].CopyFrom(self._message(value, turn))
        elif part.message_type is not None:
            made = self._message(part.message_type, turn)
            if part.is_repeated:
                getattr(message, part.name).append(made)
            else:
                getattr(message, part.name).CopyFrom(made)
        elif part.is_repeated:
            getattr(message, part.name).append(self._plain(part))
        else:
            setattr(message, part.name, self._plain(part))

    def _plain(self, part: FieldDescriptor) -> object:
        if part.name in self.known:
            return self.known[part.name]
        if part.name in DEFAULTS:
            return DEFAULTS[part.name]
        kinds = {FieldDescriptor.TYPE_STRING: "pump", FieldDescriptor.TYPE_BYTES: b""}
        return kinds.get(part.type, 0)


def with_text(message: Message, path: str, value: str) -> Message | None:
    """A copy with this text in one field; None when the message has nothing there."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy if _put(copy, path.split("."), value) else None


def _put(message: Message, path: Sequence[str], value: str) -> bool:
    name, *rest = path
    part = message.DESCRIPTOR.fields_by_name[name]
    if _is_map(part):
        return _put_in_map(getattr(message, name), rest, value)
    if rest:
        if part.is_repeated:
            put = [_put(each, rest, value) for each in getattr(message, name)]
            return any(put)
        return message.HasField(name) and _put(getattr(message, name), rest, value)
    if part in _choices(message.DESCRIPTOR) and not message.HasField(name):
        return False
    if part.is_repeated:
        getattr(message, name)[:] = [value]
    else:
        setattr(message, name, value)
    return True


def _put_in_map(values: object, path: Sequence[str], value: str) -> bool:
    if path == ["key"]:
        values[value].CopyFrom(values.pop("team"))  # type: ignore[index, attr-defined]
        return True
    return _put(values["team"], path[1:], value)  # type: ignore[index]


def any_stream(method: MethodDescriptor, values: Sequence[str]) -> st.SearchStrategy[list[Message]]:
    """Requests with any of the values in any of their fields, and any other field too."""
    one = any_message(method.input_type, values)
    return st.lists(one, max_size=4) if method.client_streaming else one.map(lambda message: [message])


def any_message(kind: Descriptor, values: Sequence[str]) -> st.SearchStrategy[Message]:
    """Any message of a type."""
    return st.builds(
        lambda given: _built(kind, given),
        st.fixed_dictionaries({}, optional={part.name: _any_value(part, values) for part in kind.fields}),
    )


def _built(kind: Descriptor, given: Mapping[str, object]) -> Message:
    return GetMessageClass(kind)(**given)


def _any_value(part: FieldDescriptor, values: Sequence[str]) -> st.SearchStrategy[object]:
    if _is_map(part):
        value = part.message_type.fields_by_name["value"].message_type
        return st.dictionaries(st.sampled_from(values), any_message(value, values), max_size=2)
    one = any_message(part.message_type, values) if part.message_type is not None else _any_plain(part, values)
    return st.lists(one, max_size=2) if part.is_repeated else one


def _any_plain(part: FieldDescriptor, values: Sequence[str]) -> st.SearchStrategy[object]:
    if part.name == "action":
        return st.sampled_from([retriever_pb2.REBUILD_ACTION_CANCEL, 99])
    known = {
        FieldDescriptor.TYPE_STRING: st.sampled_from(values),
        FieldDescriptor.TYPE_BYTES: st.binary(max_size=16),
        FieldDescriptor.TYPE_BOOL: st.booleans(),
        FieldDescriptor.TYPE_ENUM: st.sampled_from([0, 1, 2, 99]),
        FieldDescriptor.TYPE_DOUBLE: st.floats(width=64),
        FieldDescriptor.TYPE_FLOAT: st.floats(width=32),
        FieldDescriptor.TYPE_INT32: st.sampled_from([-(2**31), -1, 0, 1, 7, 2**31 - 1]),
        FieldDescriptor.TYPE_UINT32: st.sampled_from([0, 1, 7, 384, 2**32 - 1]),
        FieldDescriptor.TYPE_INT64: st.sampled_from([-(2**63), -1, 0, 1, 2**63 - 1]),
        FieldDescriptor.TYPE_UINT64: st.sampled_from([0, 1, 7, 2**53, 2**64 - 1]),
    }
    return known[part.type]


def _oneofs(kind: Descriptor) -> list:
    # The descriptors count each `optional` field as a oneof of its own.
    return [oneof for oneof in kind.oneofs if len(oneof.fields) > 1]


def _choices(kind: Descriptor) -> list[FieldDescriptor]:
    return [part for oneof in _oneofs(kind) for part in oneof.fields]


def _parts(kind: Descriptor) -> list[Descriptor]:
    return [part.message_type for part in kind.fields if part.message_type is not None]


def _is_map(part: FieldDescriptor) -> bool:
    return part.message_type is not None and part.message_type.GetOptions().map_entry
