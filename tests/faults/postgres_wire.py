"""As much of PostgreSQL's protocol as it takes to know where a commit begins and when its answer ends.

A message is a type byte, its length and its body; the first ones of a client have no type byte. A turn is committed by
the statement itself, a transaction block by its COMMIT: the first message of either that makes the server act is where
a connection can be cut before the commit, and the `ReadyForQuery` that follows is where it can be cut after it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
GATES = (b"aetheris_turn(", b"aetheris_turns(")
IDLE = b"I"


@dataclass
class Messages:
    """Bytes in, whole messages out."""

    typed: bool = True
    _kept: bytes = b""

    def take(self, data: bytes) -> list[bytes]:
        bytes_here, place = self._kept + data, 0
        found = []
        while (end := self._end(bytes_here, place)) is not None and end <= len(bytes_here):
            found.append(bytes_here[place:end])
            place = end
            self.typed = self.typed or not _asks_for_encryption(found[-1])
        self._kept = bytes_here[place:]
        return found

    def _end(self, bytes_here: bytes, place: int) -> int | None:
        """Of the message that begins at this place; None while too little of it is here."""
        head = 1 if self.typed else 0
        if len(bytes_here) < place + head + 4:
            return None
        return place + head + int(struct.unpack_from("!I", bytes_here, place + head)[0])


@dataclass
class PostgresTalk:
    """One connection. Whole messages come out in the order in which they went in."""

    _sent: Messages = field(default_factory=lambda: Messages(typed=False))
    _answered: Messages = field(default_factory=Messages)
    _bytes_due: int = 0
    """Answers to a wish for encryption are one byte without a frame."""
    _in_block: bool = False
    _committing: set[bytes] = field(default_factory=set)
    """Names of prepared statements that commit."""

    def sent(self, data: bytes) -> list[bytes]:
        messages = self._sent.take(data)
        self._bytes_due += sum(map(_asks_for_encryption, messages))
        return messages

    def answered(self, data: bytes) -> list[bytes]:
        bare = data[: self._bytes_due]
        self._bytes_due -= len(bare)
        messages = self._answered.take(data[len(bare) :])
        for message in messages:
            if self.ends_an_answer(message):
                self._in_block = message[5:6] != IDLE
        return [bare, *messages] if bare else messages

    def commits(self, message: bytes) -> bool:
        """Whether the server, once it has this message, may commit."""
        match message[:1]:
            case b"Q":
                return self._is_commit(message[5:-1])
            case b"P":
                name, text, _ = message[5:].split(b"\0", 2)
                self._committing.discard(name)
                if _is_gate(text) or _ends_block(text):
                    self._committing.add(name)
                return False
            case b"B":
                _, name, _ = message[5:].split(b"\0", 2)
                return name in self._committing and not self._in_block
        return False

    def ends_an_answer(self, message: bytes) -> bool:
        return message[:1] == b"Z"

    def _is_commit(self, text: bytes) -> bool:
        return _ends_block(text) if self._in_block else _is_gate(text)


def _is_gate(text: bytes) -> bool:
    return any(gate in text for gate in GATES)


def _ends_block(text: bytes) -> bool:
    return text.strip().upper().startswith(b"COMMIT")


def _asks_for_encryption(message: bytes) -> bool:
    return len(message) == 8 and struct.unpack("!II", message) in ((8, SSL_REQUEST), (8, GSS_REQUEST))
