"""The policy under which an agency reads its own prefix of a bucket, and nothing else, until it ends.

It is the policy language of S3 as AWS defined it; the embedded store evaluates the same document, its end included.
"""

import datetime as dt
import re
from typing import Any

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# Nothing that a policy reads as a pattern or a variable, no step up, and a slash at the end: without it the prefix of
# one agency would be the beginning of another's.
_PREFIX = re.compile(r"([a-z0-9][a-z0-9-]*/)+")


def document(*, bucket: str, prefix: str, expires_at: dt.datetime) -> dict[str, Any]:
    """Build the policy.

    Parameters
    ----------
    bucket : str
        Name of the bucket.
    prefix : str
        What all keys begin with that may be read: parts of a-z, 0-9 and -, each with a slash behind it.
    expires_at : datetime.datetime
        When it ends; aware.

    Returns
    -------
    dict
        The policy, ready for JSON: objects of the prefix may be read, keys of the prefix may be listed.

    Raises
    ------
    ValueError
        Bucket or prefix could be read as more than itself, or the end states no time zone.
    """
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"{bucket!r} is no name of a bucket")
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"{prefix!r} is no prefix: parts of a-z, 0-9 and -, each with a slash behind it")
    if expires_at.tzinfo is None:
        raise ValueError(f"{expires_at.isoformat()} states no time zone")
    until = {"DateLessThan": {"aws:CurrentTime": f"{expires_at.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ReadOwnPrefix",
                "Effect": "Allow",
                "Action": ["s3:GetObject"],
                "Resource": [f"arn:aws:s3:::{bucket}/{prefix}*"],
                "Condition": until,
            },
            {
                "Sid": "ListOwnPrefix",
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": [f"arn:aws:s3:::{bucket}"],
                "Condition": {"StringLike": {"s3:prefix": [f"{prefix}*"]}, **until},
            },
        ],
    }
