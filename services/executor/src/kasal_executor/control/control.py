"""What the routes of the control plane work with."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from kasal_db import Database
from kasal_runtime.peers import Peer

from .announcements import Announcer


@dataclass(frozen=True)
class Control:
    database: Database
    announcer: Announcer
    crews: Peer


def _control(request: Request) -> Control:
    control = request.app.state.control
    assert isinstance(control, Control)
    return control


ThisControl = Annotated[Control, Depends(_control)]
