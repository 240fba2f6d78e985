"""Output for a person: text unchanged and complete at any width, and every error of several."""

import pytest

from benchmarks.terminal import console, errors
from benchmarks.terminal.errors import UsageError


@pytest.mark.parametrize("width", [40, 200])
def test_a_table_shows_its_texts_whole_and_as_they_are(capsys, monkeypatch, width):
    monkeypatch.setattr(console.console, "width", width)
    texts = "[b]title[/b] :smile:", "[red]what it is", "widths=[bold]" + 60 * "x" + "end"
    console.table(texts[0], {texts[1]: texts[2]})
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    title, *lines = printed.splitlines()
    columns = zip(*(line.split("│")[1:-1] for line in lines if line.startswith("│")), strict=True)
    assert [title.strip(), *("".join(map(str.strip, column)) for column in columns)] == [
        texts[0], "[red]what it is", texts[2]
    ]  # fmt: skip


def test_what_fails_keeps_nothing_else_from_being_done():
    done = []

    def fail(text):
        done.append(text)
        raise UsageError(text)

    with pytest.raises(UsageError, match=r"^a; c$"):
        errors.do_each(lambda: fail("a"), lambda: done.append("b"), lambda: fail("c"), lambda: done.append("d"))
    assert done == ["a", "b", "c", "d"]
