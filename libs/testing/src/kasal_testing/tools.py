"""Tool plug-ins that misbehave on purpose. They exist only where the test distribution is installed."""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import ClassVar

from kasal_tools import Category, Effect, NoConfig, ToolContext, ToolError, ToolPlugin
from pydantic import BaseModel


class SleepArguments(BaseModel):
    seconds: float


class Sleep(ToolPlugin[NoConfig, SleepArguments]):
    name: ClassVar[str] = "test_sleep"
    title: ClassVar[str] = "Sleep"
    category: ClassVar[Category] = Category.ANALYSIS
    description: ClassVar[str] = "Waits."
    listed: ClassVar[bool] = False
    effect: ClassVar[Effect] = "pure"
    Arguments: ClassVar[type[BaseModel]] = SleepArguments

    def run(self, arguments: SleepArguments, context: ToolContext[NoConfig]) -> str:  # noqa: ARG002
        time.sleep(arguments.seconds)
        return f"slept {arguments.seconds} s"


class FailArguments(BaseModel):
    message: str = "it broke"


class Fail(ToolPlugin[NoConfig, FailArguments]):
    name: ClassVar[str] = "test_fail"
    title: ClassVar[str] = "Fail"
    category: ClassVar[Category] = Category.ANALYSIS
    description: ClassVar[str] = "Fails."
    listed: ClassVar[bool] = False
    effect: ClassVar[Effect] = "pure"
    Arguments: ClassVar[type[BaseModel]] = FailArguments

    def run(self, arguments: FailArguments, context: ToolContext[NoConfig]) -> str:  # noqa: ARG002
        raise ToolError(arguments.message)


class AllocateArguments(BaseModel):
    mib: int


class Allocate(ToolPlugin[NoConfig, AllocateArguments]):
    name: ClassVar[str] = "test_allocate"
    title: ClassVar[str] = "Allocate"
    category: ClassVar[Category] = Category.ANALYSIS
    description: ClassVar[str] = "Uses memory."
    listed: ClassVar[bool] = False
    effect: ClassVar[Effect] = "pure"
    Arguments: ClassVar[type[BaseModel]] = AllocateArguments

    def run(self, arguments: AllocateArguments, context: ToolContext[NoConfig]) -> str:  # noqa: ARG002
        block = bytearray(os.urandom(1024)) * (1024 * arguments.mib)
        return f"used {len(block) // 2**20} MiB"


class CrashArguments(BaseModel):
    signal: int = signal.SIGSEGV


class Crash(ToolPlugin[NoConfig, CrashArguments]):
    name: ClassVar[str] = "test_crash"
    title: ClassVar[str] = "Crash"
    category: ClassVar[Category] = Category.ANALYSIS
    description: ClassVar[str] = "Kills its own process."
    listed: ClassVar[bool] = False
    effect: ClassVar[Effect] = "effectful"
    Arguments: ClassVar[type[BaseModel]] = CrashArguments

    def run(self, arguments: CrashArguments, context: ToolContext[NoConfig]) -> str:  # noqa: ARG002
        # Raised on this very thread, so that nothing comes after it.
        signal.raise_signal(arguments.signal)
        return "still alive"


class LookArguments(BaseModel):
    pass


class Look(ToolPlugin[NoConfig, LookArguments]):
    name: ClassVar[str] = "test_look"
    title: ClassVar[str] = "Look around"
    category: ClassVar[Category] = Category.ANALYSIS
    description: ClassVar[str] = "Reports what a tool can see of its process, as JSON."
    listed: ClassVar[bool] = False
    effect: ClassVar[Effect] = "pure"
    Arguments: ClassVar[type[BaseModel]] = LookArguments

    def run(self, arguments: LookArguments, context: ToolContext[NoConfig]) -> str:  # noqa: ARG002
        sys.stdout.write("a tool wrote this line\n")
        descriptors = {}
        for descriptor in Path("/proc/self/fd").iterdir():
            try:
                descriptors[descriptor.name] = str(descriptor.readlink())
            except FileNotFoundError:  # the one that was listing
                continue
        return json.dumps(
            {
                "environment": dict(os.environ),
                "initial_environment": Path("/proc/self/environ").read_bytes().decode(),
                "descriptors": descriptors,
                "directory": str(Path.cwd()),
                "files": sorted(each.name for each in Path.cwd().iterdir()),
                "interfaces": [name for _, name in socket.if_nameindex()],
                "pid": os.getpid(),
                "session": os.getsid(0),
            }
        )
