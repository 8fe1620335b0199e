"""Positions handed to clients: sealed, so that they tell nothing of what their holder may not see.

A position in the feed, or the end of a page, holds numbers that count everybody's items. Sealed for one agency it
means something here and nothing elsewhere, and the same position always gives the same text. It is filled up to a
multiple of 32 octets first, for how long a number is tells how large it is.
"""

import base64
import binascii
import os
import secrets
from pathlib import Path

from cryptography import exceptions
from cryptography.hazmat.primitives.ciphers import aead

#: What people write for "from the beginning"; no sealed position is that short.
BEGINNING = "0"

_KEY_BITS = 512
_LONGEST = 4096
_FILLED_TO = 32
_FILLING = b"\0"


class CursorError(ValueError):
    """The text is no position given to this agency."""


class CursorSeal:
    """Seals positions by one key of the installation.

    Parameters
    ----------
    key : bytes
        64 octets.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = aead.AESSIV(key)

    def seal(self, position: bytes, *, agency: str, purpose: str) -> str:
        """Seal a position.

        Parameters
        ----------
        position : bytes
            What it says; it does not end with NUL.
        agency : str
            Whom it is given to.
        purpose : str
            What it is a position in.

        Returns
        -------
        str
            Text for an address.
        """
        filled = position + _FILLING * (-len(position) % _FILLED_TO)
        sealed = self._cipher.encrypt(filled, [purpose.encode(), agency.encode()])
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def unseal(self, text: str, *, agency: str, purpose: str) -> bytes:
        """Open a position.

        Parameters
        ----------
        text : str
            What `seal` gave.
        agency : str
            Whose it must be.
        purpose : str
            What it must be a position in.

        Returns
        -------
        bytes
            What it says.

        Raises
        ------
        CursorError
            It is of another agency or purpose, or none at all.
        """
        try:
            if len(text) > _LONGEST:
                raise ValueError
            sealed = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            return self._cipher.decrypt(sealed, [purpose.encode(), agency.encode()]).rstrip(_FILLING)
        except (binascii.Error, ValueError, exceptions.InvalidTag):
            raise CursorError("the position is none that this service gave to this agency") from None


def ensure(home: Path) -> CursorSeal:
    """Seal of an installation, its key made on first use.

    Parameters
    ----------
    home : Path
        Folder of the installation; the key lies in ``keys/cursor.key``, readable by its owner only.

    Returns
    -------
    CursorSeal
        The seal.
    """
    path = home / "keys" / "cursor.key"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return CursorSeal(path.read_bytes())
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(_KEY_BITS // 8))
    return CursorSeal(path.read_bytes())
