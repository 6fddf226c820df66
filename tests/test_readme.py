"""What the README promises, run as it stands."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_ten_lines_of_python(tmp_path, monkeypatch, capsys):
    block = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL).group(1)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, str(README), "exec"), {})
    accuracy, *labels = capsys.readouterr().out.split()
    assert float(accuracy) >= 0.93
    assert len(labels) == 10
    assert (tmp_path / "runs" / "digits" / "config.json").is_file()
