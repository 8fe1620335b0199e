"""SHA-512 of files in the store, for those who ask for it: the catalogue holds SHA-256 and nothing else.

It is found when it is asked for, by reading the file, which is proven by the hash the catalogue does hold in the same
pass: what is told is the hash of what was published, or nothing.
"""

import dataclasses
import hashlib
from collections.abc import Callable

from infra import catalog_store, object_store

_BLOCK = 1 << 20


class StoredHashError(Exception):
    """The hash of a file cannot be told: the store does not answer, or holds something else than was published."""


@dataclasses.dataclass(frozen=True)
class Sha512:
    """Finds the hash of an asset.

    Attributes
    ----------
    connected : callable
        Gives the store; asked each time, because a store may be started anew at another address.
    """

    connected: Callable[[], object_store.ObjectStore]

    def __call__(self, asset: catalog_store.AssetRecord) -> str | None:
        """Read an asset and hash it.

        Parameters
        ----------
        asset : infra.catalog_store.AssetRecord
            The asset.

        Returns
        -------
        str or None
            SHA-512 in hex; None where the file is gone, as that of a revision that has expired.

        Raises
        ------
        StoredHashError
            The store does not answer, or the file is not what was published.
        """
        told, known, size = hashlib.sha512(), hashlib.sha256(), 0
        try:
            with self.connected().open(asset.bucket, asset.key) as stream:
                while block := stream.read(_BLOCK):
                    told.update(block)
                    known.update(block)
                    size += len(block)
        except object_store.ObjectMissingError:
            return None
        except object_store.ObjectStoreError as error:
            raise StoredHashError(f"{asset.bucket}/{asset.key} cannot be read: {error}") from error
        if (known.hexdigest(), size) != (asset.sha256, asset.size):
            raise StoredHashError(f"{asset.bucket}/{asset.key} is not what was published: see `catalogue reconcile`")
        return told.hexdigest()
