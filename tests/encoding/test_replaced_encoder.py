"""An encoder's folder that is replaced while others read it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from crash.scenarios import save_encoder

from tfvlad.encoding.files import read_encoder, read_whole
from tfvlad.errors import ArtifactError

SECONDS = 3.0
WRITER = """
import sys, time
from crash.scenarios import save_encoder
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    for seed in (1, 0):
        save_encoder(__import__("pathlib").Path(sys.argv[1]), seed)
"""


def test_readers_see_the_old_encoder_or_the_new_one_and_never_a_mixture(tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    save_encoder(folder, 0)
    codebooks = {}
    for seed in (1, 0):
        save_encoder(folder, seed)
        stored = read_encoder(folder)
        assert stored.codebook is not None
        codebooks[stored.fingerprint] = stored.codebook.tobytes()
    seen: Counter[str] = Counter()
    failures: list[Exception] = []
    tests = str(Path(__file__).resolve().parents[1])
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(SECONDS)], cwd=tests)

    def read() -> None:
        try:
            while writer.poll() is None:
                stored = read_whole(folder, lambda: read_encoder(folder))
                assert stored.codebook is not None
                assert stored.codebook.tobytes() == codebooks[stored.fingerprint]
                seen[stored.fingerprint] += 1
        except Exception as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    assert writer.wait() == 0
    for reader in readers:
        reader.join()
    assert not failures
    assert all(seen[fingerprint] > 5 for fingerprint in codebooks), seen


def test_a_folder_that_is_missing_or_damaged_is_told_as_before(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not an encoder folder"):
        read_whole(tmp_path / "nowhere", lambda: read_encoder(tmp_path / "nowhere"))
    save_encoder(tmp_path / "encoder", 0)
    (tmp_path / "encoder" / "codebook.npz").write_bytes(b"x")
    with pytest.raises(ArtifactError, match=r"codebook\.npz: damaged"):
        read_whole(tmp_path / "encoder", lambda: read_encoder(tmp_path / "encoder"))
