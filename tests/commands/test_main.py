from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.command_results import REASONS, Command, assert_listed, document, done, refusal

from tfvlad.commands import layers
from tfvlad.commands._main import COMMANDS

# What no help text may need: importing any of these takes longer than everything else together.
HEAVY = ("tensorflow", "keras", "numba", "sklearn", "scipy", "hnswlib", "PIL")


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return finished([sys.executable, "-c", code, *map(str, arguments)])


def finished(command: Sequence[str], stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=300)


def replaced(body: str) -> list[str]:
    """The command line of `tfvlad layers`, with another body in place of the command's own."""
    code = f"""
import os, sys, time
from tfvlad.commands import _main, layers
def run(values, operands):
    {body}
layers.run = run
sys.argv = ["tfvlad", "layers"]
_main.main()
"""
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("flag", ["--help", "-h", "-help", "help"])
def test_the_overview_lists_every_command(command: Command, flag: str) -> None:
    text = done(command(flag))
    assert "usage: tfvlad COMMAND [--flags]" in text
    for name, summary in COMMANDS.items():
        assert f"  {name:<10} {summary}\n" in text


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_each_command_tells_its_own_flags(command: Command, name: str, flag: str) -> None:
    text = done(command(name, flag))
    assert text.startswith(f"tfvlad {name}: {COMMANDS[name]}\n\nusage: tfvlad {name} [--flags]")
    assert ("--clusters=INT" in text) == (name in ("fit", "index"))
    assert ("--k=INT\n      Hits per query. [10]" in text) == (name == "search")
    assert "--flagfile=FILE" in text
    assert "repeat this option" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_help_wins_over_mistakes(command: Command) -> None:
    assert done(command("fit", "--clusters=many", "--help")).startswith("tfvlad fit:")


def test_help_shows_defaults_and_choices(command: Command) -> None:
    text = done(command("fit", "--help"))
    assert "--resize={stretch,fit}" in text
    assert "keeps their aspect ratio. [fit]" in text
    assert "Makes the result reproducible. [0]" in text
    assert "--[no]intra_norm" in text


def test_version(command: Command) -> None:
    import tfvlad

    assert done(command("--version")) == f"tfvlad {tfvlad.__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    code = f"""
import sys
from tfvlad.commands._main import COMMANDS, run
assert run(["--help"]) == 0
assert "numpy" not in sys.modules
for name in COMMANDS:
    assert run([name, "--help"]) == 0
    imported = set(sys.modules) & set({HEAVY!r})
    assert not imported, (name, imported)
"""
    answered = python(code)
    assert (answered.returncode, answered.stderr) == (0, "")


def test_importing_the_package_is_light_and_its_names_are_there() -> None:
    code = f"""
import sys
import tfvlad
assert not set(sys.modules) & {{"numpy", *{HEAVY!r}}}
assert {{"Encoder", "EncoderConfig", "Index", "Hit", "ConfigError", "__version__"}} <= set(dir(tfvlad))
assert tfvlad.EncoderConfig().clusters == 100
assert issubclass(tfvlad.ConfigError, tfvlad.TfvladError)
assert not hasattr(tfvlad, "encode")
assert not set(sys.modules) & set({HEAVY!r})
assert tfvlad.Index.__name__ == "Index" and "tensorflow" not in sys.modules
"""
    answered = python(code)
    assert (answered.returncode, answered.stderr) == (0, "")


def test_the_names_of_the_package_are_what_they_say() -> None:
    import tfvlad

    for name in dir(tfvlad):
        assert name == "__version__" or getattr(tfvlad, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'tfvlad' has no attribute 'encode'"):
        tfvlad.encode  # noqa: B018


def test_the_console_script_and_the_module_are_the_same() -> None:
    script = shutil.which("tfvlad", path=os.path.dirname(sys.executable))
    assert script is not None, "tfvlad is not installed beside this Python"
    for command in ([script], [sys.executable, "-m", "tfvlad"]):
        answered = finished([*command, "--help"])
        assert (answered.returncode, answered.stderr) == (0, "")
        assert answered.stdout.startswith("tfvlad finds the photographs")
        refused = finished([*command, "serch"])
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr == "tfvlad: there is no command 'serch'; did you mean search?\n"


def test_a_whole_command_in_a_process_of_its_own(broken: Path, encoder: Path, tmp_path: Path) -> None:
    """Standard output is one document, and libjpeg's and TensorFlow's own chatter is not on standard error."""
    line = ["index", "--images", broken, "--encoder", encoder, "--index", tmp_path / "index", "--format=json"]
    answered = finished([sys.executable, "-m", "tfvlad", *map(str, line)])
    report = json.loads(answered.stdout)
    assert (answered.returncode, report["added"], len(report["failed"])) == (1, 5, 3)
    lines = [f"  {broken / name}: {reason}" for name, reason in REASONS.items()]
    assert answered.stderr.splitlines() == ["3 of the images could not be used:", *sorted(lines)]


def test_flags_come_from_files_too(command: Command, index: Path, queries: Path, tmp_path: Path) -> None:
    (tmp_path / "search.flags").write_text(f"# how we search\n\n--index={index}\n  --k=3  \n// a third kind\n--exact\n")
    query = queries / "000.jpg"
    hits = document(command("search", f"--flagfile={tmp_path / 'search.flags'}", "--format=json", query))[0]["hits"]
    assert len(hits) == 3
    # What stands behind the file wins.
    found = document(command("search", "--flagfile", tmp_path / "search.flags", "--k=2", query, "--format", "json"))
    assert [len(one["hits"]) for one in found] == [2]


def test_flags_and_operands_in_any_order(command: Command, index: Path, queries: Path) -> None:
    first, second = queries / "000.jpg", queries / "001.jpg"
    expected = done(command("search", "--index", index, "--k", 2, "--exact", first, second))
    assert done(command("search", first, "--k=2", f"--index={index}", second, "--exact")) == expected
    assert done(command("search", "-k", 2, "-exact", "-index", index, "--", first, second)) == expected


def test_failures_are_listed_with_path_and_reason(command: Command, broken: Path, index: Path, queries: Path) -> None:
    bad = [broken / name for name in REASONS]
    assert_listed(command("search", "--index", index, *bad, queries / "000.jpg"), *bad)


def test_interruption_is_told_in_one_line(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfvlad.commands import layers

    def interrupt(*arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(layers, "run", interrupt)
    assert command("layers") == (130, "", "tfvlad layers: interrupted\n")


def test_ctrl_c() -> None:
    process = subprocess.Popen(
        # A shell that runs its jobs in the background has them ignore the signal, and so their children.
        replaced(
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "print('ready', flush=True); time.sleep(300)"
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "tfvlad layers: interrupted\n")


@pytest.fixture(params=["buffered", "unbuffered"])
def _buffering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command prints leaves it at its end, or at once."""
    monkeypatch.setenv("PYTHONUNBUFFERED", "1" if request.param == "unbuffered" else "")


@pytest.mark.usefixtures("_buffering")
@pytest.mark.parametrize("length", [1, 1_000_000])
def test_a_reader_that_has_seen_enough_is_no_error(length: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        answered = finished(replaced(f"print('x' * {length}); return 0"), stdout=writing)
    finally:
        os.close(writing)
    assert (answered.returncode, answered.stderr) == (0, "")


@pytest.mark.usefixtures("_buffering")
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_told_once() -> None:
    with open("/dev/full", "w") as full:
        answered = finished([sys.executable, "-m", "tfvlad", "--help"], stdout=full.fileno())
    assert answered.returncode == 2
    assert re.fullmatch("tfvlad: (standard output: )?No space left on device\n", answered.stderr)


def test_closed_streams_do_not_stop_the_work_and_are_told(tmp_path: Path) -> None:
    work = replaced(f"open({str(tmp_path / 'done')!r}, 'w'); print('x'); print('y', file=sys.stderr); return 0")
    assert finished(["/bin/sh", "-c", 'exec "$@" >&- 2>&-', "sh", *work]).returncode == 2
    assert (tmp_path / "done").exists()
    answered = finished(["/bin/sh", "-c", 'exec "$@" >&-', "sh", *work])
    assert (answered.returncode, answered.stderr) == (
        2,
        "y\ntfvlad: standard output is closed, so nothing was printed\n",
    )


def test_names_that_are_no_text_are_escaped() -> None:
    answered = finished(replaced(r"print('caf\udce9.jpg'); print('caf\udce9.jpg', file=sys.stderr); return 0"))
    assert (answered.returncode, answered.stdout, answered.stderr) == (0, "caf\\udce9.jpg\n", "caf\\udce9.jpg\n")


def test_the_chatter_of_native_code_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFVLAD_NATIVE_LOG", str(tmp_path / "native.log"))
    line = replaced("os.write(2, b'chatter'); print('ours', file=sys.stderr); return 0")
    assert finished(line).stderr == "ours\n"
    assert (tmp_path / "native.log").read_text() == "chatter"
    monkeypatch.setenv("TFVLAD_NATIVE_LOG", str(tmp_path / "nowhere" / "native.log"))
    refused = finished(line)
    assert refused.returncode == 2
    assert refused.stderr == f"tfvlad: TFVLAD_NATIVE_LOG: {tmp_path}/nowhere/native.log: No such file or directory\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_flagfile_that_is_no_file_is_not_waited_for(command: Command, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "flags")
    (tmp_path / "nested").write_text(f"--flagfile={tmp_path / 'flags'}\n")
    for name in ("flags", "nested"):
        told = refusal(command("layers", f"--flagfile={tmp_path / name}"))
        assert f"--flagfile={tmp_path / 'flags'}: not a file of flags" in told


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        np._core._exceptions._ArrayMemoryError((1,), np.dtype(float)),
        RuntimeError("can't start new thread"),
    ],
)
def test_too_little_memory_is_told(command: Command, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def run(values: object, operands: object) -> int:
        raise error

    monkeypatch.setattr(layers, "run", run)
    assert refusal(command("layers")) == "tfvlad layers: there is not enough memory"
