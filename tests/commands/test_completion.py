from __future__ import annotations

import shutil
import subprocess

import pytest
from helpers.command_results import Command, done

from tfvlad.commands._main import COMMANDS


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["tfvlad", "sea"], ["search"]),
        (["tfvlad", "search", "--verif"], ["--verifier", "--verify"]),
        (["tfvlad", "fit", "--clus"], ["--clusters"]),
        (["tfvlad", "nonsense", "--"], []),
    ],
)
def test_bash_completes(command: Command, words: list[str], found: list[str]) -> None:
    script = done(command("completion", "bash"))
    given = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _tfvlad; echo ${{COMPREPLY[@]}}"
    ran = subprocess.run(["bash", "-c", f"{script}\n{given}"], capture_output=True, text=True, check=True)
    assert sorted(ran.stdout.split()) == found


def test_other_shells(command: Command) -> None:
    assert done(command("completion", "zsh")).startswith("autoload -U +X bashcompinit")
    fish = done(command("completion", "fish"))
    assert all(f"-f -a {name} " in fish for name in COMMANDS)
    assert "complete -c tfvlad -n '__fish_seen_subcommand_from search' -l verify\n" in fish


@pytest.mark.parametrize("operands", [[], ["powershell"], ["bash", "zsh"]])
def test_one_shell_is_needed(command: Command, operands: list[str]) -> None:
    result = command("completion", *operands)
    assert result.status == 2
    assert result.err == "tfvlad completion: give one shell: bash, zsh, fish\n"
