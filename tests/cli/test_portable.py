"""What systems without POSIX, or without /proc, do instead; tried here by taking away what they lack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labctl.cli.commands.simulate import _check_transport
from labctl.data import nexus
from labctl.data.files import lock
from labctl.model.errors import ConfigError
from labctl.runner.fit_process import own_group


def test_room_is_tried_by_writing_where_nothing_allocates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("labctl.data.nexus.os.posix_fallocate", raising=False)
    nexus.try_room(tmp_path / "probe", 3_000_000)
    assert (tmp_path / "probe").stat().st_size >= 3_000_000


def test_windows_keeps_ctrl_c_from_children_by_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200, raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    assert own_group() == {"creationflags": 0x200}


def test_windows_has_no_pseudo_terminals_and_says_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    _check_transport("tcp")
    monkeypatch.setattr(sys, "platform", "win32")
    _check_transport("tcp")
    with pytest.raises(ConfigError, match="Windows has no pseudo-terminals"):
        _check_transport("pty")


def test_a_process_is_asked_after_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        monkeypatch.setattr(sys, "platform", "darwin")
        known = lock._started(process.pid)
        assert known is not None
        assert float(known) > 1e9  # seconds since 1970
        assert lock._started(process.pid) == known
        process.kill()
        monkeypatch.undo()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert lock._started(process.pid) is None
    assert lock._started(os.getpid()) is not None
