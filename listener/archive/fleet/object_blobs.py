"""Envelopes in an object store: S3, or whatever else obstore opens.

An object is created only if there is none of its name (``If-None-Match: *``), never replaced, and
durable when the request has succeeded. The bucket must keep no versions: an erased object must go.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import obstore
from obstore import exceptions
from obstore.store import from_url

from listener.archive.blobs import BlobConflict
from listener.envelope.format import ENVELOPE_LIMIT_BYTES
from listener.errors import ConfigError, Unavailable
from listener.storage.locations import CLIPS

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

MOST_LISTED: Final = 500
"""Objects of one piece of a listing."""
_CLIP: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_TIMEOUT: Final = timedelta(seconds=15)


def open_objects(url: str, environment: Mapping[str, str]) -> "ObjectStore":
    """Open an object store.

    obstore reads the endpoint, the region and the credentials from the process's environment:
    ``AWS_ENDPOINT_URL``, ``AWS_REGION``, ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``.

    Args:
        url: ``s3://bucket/prefix``.
        environment: the process's; ``AWS_ALLOW_HTTP=true`` permits an endpoint without TLS.

    Raises:
        ConfigError: it cannot be opened with this URL.
    """
    try:
        return from_url(
            url,
            client_options={
                "allow_http": environment.get("AWS_ALLOW_HTTP", "").lower() in {"1", "true"},
                "connect_timeout": timedelta(seconds=5),
                "timeout": _TIMEOUT,
            },
            retry_config={"max_retries": 3, "retry_timeout": _TIMEOUT},
        )
    except (exceptions.BaseError, ValueError) as error:
        raise ConfigError(
            f"cannot open archive.objects: {_describe(error)}", "write s3://bucket/prefix"
        ) from error


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of a listing."""

    key: str
    owner: str
    clip: str
    """Its name; not an id if it has another form."""
    arrived_s: int
    """Time of its last change, seconds since 1970, by the object store's clock."""

    @property
    def is_named_by_id(self) -> bool:
        """True if its name has the form of an id."""
        return _CLIP.fullmatch(self.clip) is not None


class ObjectBlobs:
    """Envelopes as objects ``clips/<owner>/<clip>``; see ``Blobs``. Safe for several threads.

    Args:
        objects: the object store.
        area: first part of each name.
    """

    def __init__(self, objects: "ObjectStore", area: str = CLIPS) -> None:
        self.objects: Final = objects
        self._area = area

    def put_new(self, owner: str, clip: str, data: bytes) -> bool:
        """Store an envelope durably; see ``Blobs``."""
        with translate_object_errors():
            try:
                obstore.put(self.objects, self.key(owner, clip), data, mode="create")
            except exceptions.AlreadyExistsError as error:
                # Also where the answer to an earlier attempt of this request was lost.
                if self.get(owner, clip) != data:
                    raise BlobConflict("another object has its name") from error
                return False
        return True

    def get(self, owner: str, clip: str) -> bytes | None:
        """Return an envelope's bytes; see ``Blobs``."""
        return self.read(self.key(owner, clip))

    def read(self, key: str) -> bytes | None:
        """Return the bytes of an object, at most one more than the limit; None without one."""
        with translate_object_errors():
            try:
                result = obstore.get(self.objects, key)
                if result.meta["size"] > ENVELOPE_LIMIT_BYTES:
                    return bytes(
                        obstore.get_range(self.objects, key, start=0, end=ENVELOPE_LIMIT_BYTES + 1)
                    )
                return bytes(result.bytes())
            except (exceptions.NotFoundError, FileNotFoundError):
                return None

    def exists(self, owner: str, clip: str) -> bool:
        """Return True if there is an object of this name; see ``Blobs``."""
        return self._head(owner, clip) is not None

    def ids(self, owner: str) -> Iterator[str]:
        """Yield the ids of an owner's objects; see ``Blobs``."""
        for piece in self.pieces(owner):
            yield from (item.clip for item in piece if item.is_named_by_id)

    def pieces(self, owner: str | None = None) -> Iterator[list[StoredObject]]:
        """Yield an owner's objects, or all, in pieces of at most ``MOST_LISTED``."""
        prefix = f"{self._area}/" if owner is None else f"{self._area}/{owner}/"
        with translate_object_errors():
            for piece in obstore.list(self.objects, prefix, chunk_size=MOST_LISTED):
                yield [item for meta in piece if (item := _parse(meta)) is not None]

    def erase(self, places: Iterable[tuple[str, str]]) -> None:
        """Delete objects; see ``Blobs``."""
        self.delete([self.key(owner, clip) for owner, clip in places])

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects by name; those that do not exist are skipped."""
        if not keys:
            return
        with translate_object_errors():
            try:
                obstore.delete(self.objects, keys)
            except (exceptions.NotFoundError, FileNotFoundError):
                for key in keys:
                    with contextlib.suppress(exceptions.NotFoundError, FileNotFoundError):
                        obstore.delete(self.objects, key)

    def size_bytes(self, owner: str, clip: str) -> int | None:
        """Return the size of an object; None without one."""
        meta = self._head(owner, clip)
        return None if meta is None else int(meta["size"])

    def arrived_s(self, owner: str, clip: str) -> int:
        """Return the time of an object's arrival; see ``Blobs``."""
        meta = self._head(owner, clip)
        if meta is None:
            raise Unavailable("the clip was erased in the meantime")
        return int(meta["last_modified"].timestamp())

    def key(self, owner: str, clip: str) -> str:
        """Return the name of an envelope's object."""
        return f"{self._area}/{owner}/{clip}"

    def _head(self, owner: str, clip: str) -> "ObjectMeta | None":
        with translate_object_errors():
            try:
                return obstore.head(self.objects, self.key(owner, clip))
            except (exceptions.NotFoundError, FileNotFoundError):
                return None


@contextlib.contextmanager
def translate_object_errors() -> Iterator[None]:
    """Turn an error of the object store into ``Unavailable``."""
    try:
        yield
    except (exceptions.BaseError, OSError) as error:
        raise Unavailable(f"cannot use the object store: {_describe(error)}") from error


def _parse(meta: "ObjectMeta") -> StoredObject | None:
    match meta["path"].split("/"):
        case [_, owner, clip]:
            changed_s = int(meta["last_modified"].timestamp())
            return StoredObject(meta["path"], owner, clip, changed_s)
        case _:
            return None


def _describe(error: Exception) -> str:
    """Return the first line of an error; the others are a debugging dump."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
