"""The README's code runs, and its commands name flags that exist."""

import re
import shlex

import pytest

from tests.support.process import ROOT, python

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^( *)```python\n(.*?)^ *```", README, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"python -m (benchmarks\.\w+)((?: --\w+(?:=[^\s`]+)?)*)", README)


def test_the_python_code_runs_from_top_to_bottom(tmp_path):
    code = "\n".join(re.sub(f"^{indent}", "", text, flags=re.MULTILINE) for indent, text in BLOCKS)
    # Keras would fetch these weights.
    code = re.sub(r"^.*weights=\"imagenet\".*$", "", code, flags=re.MULTILINE)
    assert code.count("import") >= 3
    answer = python("-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "mine.keras").is_file()


@pytest.mark.parametrize("module", sorted({module for module, _ in COMMANDS}))
def test_its_commands_name_flags_that_exist(module):
    answer = python("-m", module, "--helpfull")
    assert answer.stdout, answer.stderr
    for _, flags in (command for command in COMMANDS if command[0] == module):
        for flag in shlex.split(flags):
            name = flag.removeprefix("--").partition("=")[0]
            assert f"--{name}" in answer.stdout or f"--[no]{name}" in answer.stdout, flag
