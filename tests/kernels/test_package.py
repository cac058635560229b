"""What shows only in a process of its own."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tfvlad_kernels

HERE = Path(__file__).parent

ENCODE = """
import numpy as np
from tfvlad_kernels import encode_vlad
generator = np.random.default_rng(0)
features = generator.standard_normal((12, 60, 16), dtype=np.float32)
centroids = generator.standard_normal((5, 16), dtype=np.float32)
expected = encode_vlad(features, centroids)
"""


def run(*arguments: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_importing_does_not_import_tensorflow() -> None:
    script = "import sys, tfvlad_kernels; print(*(m for m in ('tensorflow', 'keras', 'sklearn') if m in sys.modules))"
    assert run("-c", script).strip() == ""


def test_the_kernels_are_right_as_plain_python() -> None:
    tests = [
        str(HERE / f"test_{name}.py") for name in ("assignment", "screening", "residuals", "normalization", "encoder")
    ]
    core = "by_hand or reference and not 65537 or ragged or bounds"
    output = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", core, *tests, NUMBA_DISABLE_JIT="1")
    assert " passed" in output


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names a processor of x86-64")
def test_another_processor_can_be_compiled_for(tmp_path: Path) -> None:
    environment = {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+sse4.2",
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    script = """
generator = np.random.default_rng(0)
features = generator.standard_normal((2, 300, 128), dtype=np.float32)
centroids = generator.standard_normal((80, 128), dtype=np.float32)
labels = np.argmin(((features[0, :, None].astype(float) - centroids) ** 2).sum(axis=2), axis=1)
from tfvlad_kernels import assign
print((assign(features[0], centroids) == labels).all(), encode_vlad(features, centroids).shape)
"""
    assert run("-c", ENCODE + script, **environment).strip() == "True (2, 10240)"


@pytest.mark.parametrize("layer", ["workqueue", "default"])
def test_calls_from_several_python_threads(layer: str) -> None:
    # Numba's workqueue aborts the process when entered from two threads at once.
    script = """
from concurrent.futures import ThreadPoolExecutor
import numba
def work(repetition):
    return all(np.array_equal(encode_vlad(features, centroids), expected) for _ in range(20))
with ThreadPoolExecutor(4) as pool:
    print(all(pool.map(work, range(8))), numba.threading_layer())
"""
    environment = {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
    answer, used = run("-c", ENCODE + script, **environment).split()
    assert answer == "True"
    assert layer in ("default", used)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_encodes_on_one_thread() -> None:
    # GNU OpenMP ends a child that enters a parallel region after its parent did.
    script = """
import os
from tfvlad_kernels.threads import thread_count
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(encode_vlad(features, centroids), expected) and thread_count() == 1 else 1)
print(os.waitpid(child, 0)[1], thread_count())
"""
    assert run("-W", "ignore", "-c", ENCODE + script, NUMBA_NUM_THREADS="2").split() == ["0", "2"]


@pytest.mark.skipif(sys.platform != "linux", reason="names the cache folder as Linux does")
def test_what_is_compiled_is_kept_in_the_cache_folder_of_the_user(tmp_path: Path) -> None:
    package = tmp_path / "tfvlad_kernels"
    shutil.copytree(Path(tfvlad_kernels.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    script = "import numpy as np; from tfvlad_kernels import normalization as n; n.squared_norm(np.ones(2, np.float32))"
    run("-c", script, PYTHONPATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert list((tmp_path / "cache" / "tfvlad" / "kernels").rglob("*.nbi"))
    assert not list(package.rglob("*.nbi"))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    package = tmp_path / "tfvlad_kernels"
    shutil.copytree(Path(tfvlad_kernels.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    # In place of a folder, where Numba would put its cache: nobody, not even root, can write there.
    (package / "__pycache__").write_bytes(b"")
    script = """
import numpy as np
from tfvlad_kernels import normalization
print(normalization.__file__, normalization.squared_norm(np.array([3, 4], np.float32)))
"""
    nowhere = str(tmp_path / "nowhere")
    Path(nowhere).write_bytes(b"")
    environment = {"HOME": nowhere, "XDG_CACHE_HOME": nowhere, "LOCALAPPDATA": nowhere}
    output = run("-B", "-c", script, PYTHONPATH=str(tmp_path), **environment)
    assert output.split() == [str(package / "normalization.py"), "25.0"]
