"""Files one after the other into one answer: a zip whose entries are stored, or multipart/mixed."""

from __future__ import annotations

import io
import secrets
import zipfile
from typing import Protocol


class Packer(Protocol):
    """Each call returns the bytes to send; nothing that was returned is kept."""

    media_type: str

    def add(self, name: str, media_type: str, content: bytes) -> bytes:
        """One whole file. `name` is plain ASCII."""
        ...

    def end(self) -> bytes:
        """What comes after the last file."""
        ...


class _Window(io.BytesIO):
    """The end of a file whose beginning has been sent: positions are those of the whole file."""

    def __init__(self) -> None:
        super().__init__()
        self._sent = 0

    def tell(self) -> int:
        return self._sent + super().tell()

    def seek(self, position: int, whence: int = 0) -> int:
        return self._sent + super().seek(position - self._sent if whence == 0 else position, whence)

    def close(self) -> None:
        """Nothing: a zip that was given up ends itself when it is collected, perhaps after this was."""

    def take(self) -> bytes:
        content = self.getvalue()
        self._sent += len(content)
        super().seek(0)
        self.truncate()
        return content


class ZipPacker:
    """A zip. Its entries carry their sizes and checksums before their bytes, so that any reader of streams takes it."""

    media_type = "application/zip"

    def __init__(self) -> None:
        self._window = _Window()
        self._zip = zipfile.ZipFile(self._window, "w", zipfile.ZIP_STORED)

    def add(self, name: str, media_type: str, content: bytes) -> bytes:
        """One entry."""
        self._zip.writestr(name, content)
        return self._window.take()

    def end(self) -> bytes:
        """The directory."""
        self._zip.close()
        return self._window.take()


class MultipartPacker:
    """multipart/mixed, RFC 2046, each part with its length and file name."""

    def __init__(self) -> None:
        self._boundary = secrets.token_hex(16)
        self.media_type = f"multipart/mixed; boundary={self._boundary}"

    def add(self, name: str, media_type: str, content: bytes) -> bytes:
        """One part."""
        head = (
            f"--{self._boundary}\r\nContent-Type: {media_type}\r\nContent-Length: {len(content)}\r\n"
            f'Content-Disposition: attachment; filename="{name}"\r\n\r\n'
        )
        return head.encode() + content + b"\r\n"

    def end(self) -> bytes:
        """The last boundary."""
        return f"--{self._boundary}--\r\n".encode()
