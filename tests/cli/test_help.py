"""What --help lists is whole sentences, however wide the terminal is."""

import os
import re

import pytest
from support.commands import Run


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("group", [(), ("device",)], ids=str)
def test_each_command_is_listed_with_its_whole_first_sentence(group: tuple[str, ...], width: int, run: Run) -> None:
    listed = run(*group, "--help", env={**os.environ, "COLUMNS": str(width)}).stdout.partition("Commands:")[2]
    names = re.findall(r"^  (\w+)  ", listed, flags=re.M)
    assert len(names) >= 3
    text = " ".join(listed.split())
    for name in names:
        first = run(*group, name, "--help").stdout.split("\n\n")[1]
        sentence = re.split(r"\. |\.$", " ".join(first.split()))[0]
        assert f"{name} {sentence}." in text
