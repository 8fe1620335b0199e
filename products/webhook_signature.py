"""Signature of what is posted to webhooks: a hash of time and body that only the two who share the secret can make."""

import hashlib
import hmac
import re

HEADER = "X-Terralimb-Signature"
DELIVERY_HEADER = "X-Terralimb-Delivery"

#: A post older or newer than this by the receiver's clock is refused, so that none can be replayed later [s].
TOLERANCE = 300.0

_FORM = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")


def sign(body: bytes, *, secret: bytes, at: int) -> str:
    """Sign a body.

    Parameters
    ----------
    body : bytes
        What is posted.
    secret : bytes
        Shared secret.
    at : int
        Unix time [s].

    Returns
    -------
    str
        Value of the header ``X-Terralimb-Signature``.
    """
    return f"t={at},v1={_mac(body, secret, at)}"


def verify(value: str, body: bytes, *, secret: bytes, now: float, tolerance: float = TOLERANCE) -> bool:
    """Tell whether a signature holds, as the receiver must before it believes the body.

    Parameters
    ----------
    value : str
        Value of the header.
    body : bytes
        The octets received, before any decoding.
    secret : bytes
        Shared secret.
    now : float
        Unix time of the receiver [s].
    tolerance : float
        How far the times may be apart [s].

    Returns
    -------
    bool
        Whether it holds.
    """
    found = _FORM.fullmatch(value)
    if found is None:
        return False
    at = int(found[1])
    return hmac.compare_digest(found[2], _mac(body, secret, at)) and abs(now - at) <= tolerance


def _mac(body: bytes, secret: bytes, at: int) -> str:
    return hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
