"""The body of an answer, up to a limit that holds before and after decompression."""

import zlib

import httpcore


class AnswerTooLarge(Exception):
    """The answer is longer than the client may keep."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the answer is longer than {limit:,} bytes")


class AnswerEncoded(Exception):
    """The answer comes in an encoding that was not asked for, or is not what it says."""

    def __init__(self, encoding: str) -> None:
        super().__init__(f"the answer cannot be read as {encoding}")


Body = tuple[bytes, Exception | None]
"""What there is of a body, and what cut it short. The status is known by then, so one does not hide the other."""


def read(answer: httpcore.Response, max_bytes: int) -> Body:
    """The body of an answer, decompressed."""
    body, cut = _received(answer, max_bytes)
    encoding = _encoding(answer)
    if cut is not None or encoding in ("", "identity"):
        return body, cut
    if encoding not in ("gzip", "x-gzip"):
        return b"", AnswerEncoded(encoding)
    return _unzipped(body, max_bytes)


def _received(answer: httpcore.Response, max_bytes: int) -> Body:
    body = bytearray()
    try:
        for chunk in answer.iter_stream():
            body += chunk
            if len(body) > max_bytes:
                return bytes(body[:max_bytes]), AnswerTooLarge(max_bytes)
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
        return bytes(body), error
    return bytes(body), None


def _unzipped(body: bytes, max_bytes: int) -> Body:
    unzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        # A few bytes may stand for gigabytes: no more is unpacked than may be kept.
        text = unzip.decompress(body, max_bytes + 1)
    except zlib.error:
        return b"", AnswerEncoded("gzip")
    if len(text) > max_bytes:
        return text[:max_bytes], AnswerTooLarge(max_bytes)
    return text, None if unzip.eof or not body else AnswerEncoded("gzip")


def _encoding(answer: httpcore.Response) -> str:
    named = [value for name, value in answer.headers if name.lower() == b"content-encoding"]
    return b",".join(named).decode("latin-1").strip().lower()
