"""The systemd unit of an agent."""

from __future__ import annotations

import getpass
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

UNIT = """\
# sudo cp THIS /etc/systemd/system/edgekit-agent.service
# sudo systemctl daemon-reload && sudo systemctl enable --now edgekit-agent
[Unit]
Description=edgekit agent
Wants=network-online.target
After=network-online.target

[Service]
User={user}
WorkingDirectory={folder}
ExecStart={command}
Restart=always
RestartSec=5
KillSignal=SIGTERM
TimeoutStopSec=60
NoNewPrivileges=true

[Install]
WantedBy=multi-user.target
"""


def unit(words: Sequence[str], folder: Path) -> str:
    """A unit that runs `edgekit agent` with these words from a folder, as who asks for it."""
    command = shlex.join([sys.executable, "-m", "edgekit", "agent", *words])
    command = command.replace("%", "%%").replace("$", "$$")  # which mean something to systemd
    return UNIT.format(user=getpass.getuser(), folder=folder.resolve(), command=command)
