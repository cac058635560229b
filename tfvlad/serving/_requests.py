"""The requests that are made of a served encoder: each with its tries, its deadline and the check of what comes back.

A server may be broken, or somebody else's. What it answers becomes a descriptor only if an encoder could have given it;
everything else is a `ServingError`.
"""

from __future__ import annotations

import functools
import re
import time
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tfvlad.config import LARGEST_DIM
from tfvlad.encoding.interface import Description
from tfvlad.errors import MismatchError, ServingError
from tfvlad.images.crops import upright_size
from tfvlad.serving._outputs import Arrays, Kind, Output, Outputs, UnavailableError, quoted
from tfvlad.serving._transports import transport

Floats = npt.NDArray[np.float32]

_PAUSE = 0.1  # seconds before the second try; doubled for each further one
_ROUNDING = 0.01  # of a vector's length; bfloat16 has steps of 0.004 and 0.008

MOST_HITS = 1000  # of an image: what an exported model answers at most
_OF_A_HIT: dict[str, Kind] = {"paths": "text", "scores": "float", "ids": "int"}

_FINGERPRINT = re.compile("[0-9a-f]{64}")
_SIGNATURE = re.compile("[A-Za-z0-9_.-]+")


class ServedEncoder(NamedTuple):
    """What a server says of its encoder."""

    fingerprint: str
    dim: int
    signature: str  # a name that only this encoder has, so that an exchange behind the URL cannot go unnoticed


class Requests:
    """Makes requests of the encoder behind a URL.

    Args:
      url: see `tfvlad.serving.RemoteEncoder`, as for the others.
      fingerprint: of the encoder that must be served there; None accepts any.
      timeout: seconds in which a request must be answered, with all its tries and the pauses between them.
      attempts: how often a request is made while the server is unavailable.

    Raises:
      ConfigError: the URL has another form than a served encoder's.
    """

    def __init__(self, url: str, fingerprint: str | None, timeout: float, attempts: int) -> None:
        self._url = url
        self._transport = transport(url)
        self._expected = fingerprint
        self._timeout, self._attempts = timeout, attempts
        self._channels: int | None = None  # of local features, once they have been seen

    @functools.cached_property
    def served(self) -> ServedEncoder:
        """What the server says of its encoder, checked against the fingerprint that is expected.

        Raises:
          ServingError, MismatchError: see `tfvlad.serving.RemoteEncoder.encode`.
        """
        one = (1,)
        text, optional = Output("text", one), Output("text", one, optional=True)
        expected = {"fingerprint": text, "signature": text, "dim": Output("int", one), "label": optional}
        answer = self._ask("info", {"probe": _texts([b""])}, expected)
        fingerprint, signature, dim = answer["fingerprint"][0], answer["signature"][0], int(answer["dim"][0])
        named = _SIGNATURE.fullmatch(signature) and signature.endswith(f"_{fingerprint[:12]}")
        if not (_FINGERPRINT.fullmatch(fingerprint) and named and 1 <= dim <= LARGEST_DIM):
            raise ServingError(
                f"{self._url}: what is served there is no exported encoder, which has a fingerprint, "
                f"a signature of its own and 1 to {LARGEST_DIM} dimensions"
            )
        if dim > self._transport.most_values:
            raise ServingError(f"{self._url}: descriptors of {dim} dimensions are too long for REST; use grpc://")
        if self._expected not in (None, fingerprint):
            raise MismatchError(f"{self._url} serves the encoder {fingerprint[:12]}, not {str(self._expected)[:12]}")
        return ServedEncoder(fingerprint, dim, signature)

    @property
    def most_descriptors(self) -> int:
        """Images in a request for descriptors, at most."""
        return self._transport.most_values // self.served.dim

    @property
    def most_descriptions(self) -> int:
        """Images in a request that asks for local features, at most: the answer has megabytes for each."""
        return min(self._transport.most_maps, self.most_descriptors)

    def descriptors(self, contents: list[bytes]) -> list[Floats | None]:
        """Asks for the descriptors of image files, (dim,) float32 of unit length each; None where there is none."""
        count = len(contents)
        answer = self._ask(self.served.signature, {"image_bytes": _texts(contents)}, self._described(count))
        return self._checked(answer)

    def descriptions(self, contents: list[bytes]) -> list[Description | None]:
        """Asks for descriptors and local features of image files; None for a file that cannot be used."""
        count = len(contents)
        most = self._transport.most_values // self._transport.most_maps
        expected = {
            "features": Output("float", (count, None, None, None), count * most),
            "grid": Output("int", (count, 2)),
            # An encoder that was exported by an earlier release does not give these:
            **{name: output._replace(optional=True) for name, output in self._described(count).items()},
            "fingerprint": Output("text", (count,), optional=True),
        }
        answer = self._ask("local_features", {"image_bytes": _texts(contents)}, expected)
        if answer.keys() == expected.keys():
            if set(answer["fingerprint"]) != {self.served.fingerprint}:
                raise MismatchError(f"{self._url} serves another encoder than {self.served.fingerprint[:12]} now")
            descriptors = self._checked(answer)
        elif answer.keys() == {"features", "grid"}:
            descriptors = self.descriptors(contents)
        else:
            raise ServingError(f"{self._url}: descriptor, valid and fingerprint do not come together")
        maps = self._maps(answer)
        return [
            None if descriptor is None or not its_own.size else Description(descriptor, its_own, upright_size(content))
            for content, descriptor, its_own in zip(contents, descriptors, maps, strict=True)
        ]

    def hits(self, contents: list[bytes], k: int) -> tuple[str, list[list[tuple[str, float, int]] | None]]:
        """Asks for the files that an exported index finds for image files, at most `k` for each.

        Args:
          contents: image files.
          k: hits of each, 1 to `MOST_HITS`.

        Returns:
          The version of the index that was searched; and for each image the path, the score and the id of each hit,
          best first, or None for an image that cannot be used.

        Raises:
          ServingError, MismatchError: see `tfvlad.serving.RemoteIndex.search`.
        """
        count = len(contents)
        row, of_each = (count,), (count, None)  # wider than k where the server answers several requests together
        expected = {
            **{name: Output(kind, of_each, count * MOST_HITS) for name, kind in _OF_A_HIT.items()},
            "found": Output("int", row),
            "valid": Output("bool", row),
            "fingerprint": Output("text", row),
            "index": Output("text", row),
        }
        inputs = {"image_bytes": _texts(contents), "k": np.full(count, k, np.int32)}
        answer = self._ask("search", inputs, expected)
        fingerprints, versions = set(answer["fingerprint"].tolist()), set(answer["index"].tolist())
        if self._expected is not None and fingerprints != {self._expected}:
            told = ", ".join(quoted(text)[:12] for text in sorted(fingerprints))
            raise MismatchError(f"{self._url} serves the encoder {told}, not {self._expected[:12]}")
        widths = {answer[name].shape[1] for name in _OF_A_HIT}
        found = answer["found"]
        if len(widths) > 1 or len(versions) > 1 or (found < 0).any() or (found > min(k, *widths)).any():
            raise ServingError(f"{self._url}: the answer does not hold the hits of {count} images, {k} at most of each")
        if not _FINGERPRINT.fullmatch(version := versions.pop()):
            raise ServingError(f"{self._url}: the version of its index is none: {quoted(version)!r}")
        columns = [answer[name].tolist() for name in _OF_A_HIT]
        rows = zip(*columns, found.tolist(), answer["valid"].tolist(), strict=True)
        return version, [
            list(zip(paths[:most], scores[:most], ids[:most], strict=True)) if valid else None
            for paths, scores, ids, most, valid in rows
        ]

    def close(self) -> None:
        """Closes the connection."""
        self._transport.close()

    def _described(self, count: int) -> dict[str, Output]:
        return {"descriptor": Output("float", (count, self.served.dim)), "valid": Output("bool", (count,))}

    def _checked(self, answer: Arrays) -> list[Floats | None]:
        descriptors, valid = answer["descriptor"], answer["valid"]
        lengths = _lengths(descriptors)
        for row in np.flatnonzero(valid & ~(np.abs(lengths - 1) <= _ROUNDING))[:1]:
            raise ServingError(
                f"{self._url}: descriptor {row + 1} of {len(valid)} has the length {lengths[row]:.3g}, not 1"
            )
        return [row if usable else None for row, usable in zip(descriptors, valid, strict=True)]

    def _maps(self, answer: Arrays) -> list[Floats]:
        """Cuts out the cells that each image has."""
        features, grid = answer["features"], answer["grid"]
        if (
            (grid < 0).any()
            or (grid > features.shape[1:3]).any()
            or (grid.min(axis=1) != 0).tolist() != (grid.max(axis=1) != 0).tolist()
        ):
            raise ServingError(f"{self._url}: the grids of local features are not within their array")
        maps = [cells[:height, :width] for cells, (height, width) in zip(features, grid, strict=True)]
        for its_own in maps:
            if its_own.size and self._channels not in (None, its_own.shape[2]):
                raise ServingError(
                    f"{self._url}: local features have {its_own.shape[2]} channels, and had {self._channels} before"
                )
            lengths = _lengths(its_own)
            if not ((np.abs(lengths - 1) <= _ROUNDING) | (lengths <= _ROUNDING)).all():
                raise ServingError(f"{self._url}: there are local features of other lengths than 1 and 0")
            self._channels = its_own.shape[2] if its_own.size else self._channels
        return maps

    def _ask(self, signature: str, inputs: dict[str, npt.NDArray[Any]], expected: Outputs) -> Arrays:
        until = time.monotonic() + self._timeout
        attempt = 1
        while True:
            try:
                return self._transport.predict(signature, inputs, expected, until)
            except TimeoutError:
                raise ServingError(f"{self._url}: no answer within {self._timeout:g} s") from None
            except UnavailableError:
                pause = _PAUSE * 2 ** (attempt - 1)
                if attempt >= self._attempts or time.monotonic() + pause >= until:
                    raise
            time.sleep(pause)
            attempt += 1


def _texts(values: list[bytes]) -> npt.NDArray[Any]:
    return np.array(values, object)


def _lengths(vectors: Floats) -> Floats:
    with np.errstate(over="ignore"):  # of huge numbers the length is infinite
        lengths: Floats = np.sqrt(np.square(vectors).sum(axis=-1))
    return lengths
