"""Protocols of which the proxy knows little: bytes are passed as they come."""


class PlainTalk:
    """Nothing is known to commit."""

    def sent(self, data: bytes) -> list[bytes]:
        return [data]

    answered = sent

    def commits(self, message: bytes) -> bool:
        return False

    def ends_an_answer(self, message: bytes) -> bool:
        return False
