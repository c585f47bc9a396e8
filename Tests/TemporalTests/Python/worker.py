"""Workflows and activities of the official Python SDK, for a client of another language to call.

usage: worker.py ADDRESS TASK_QUEUE
"""

import asyncio
import dataclasses
import sys
from datetime import datetime, timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker


@dataclasses.dataclass
class Order:
    id: int
    items: list[str]
    at: datetime
    note: str | None = None


@activity.defn
async def refuse(reason: str) -> None:
    try:
        raise ValueError("the root")
    except ValueError as error:
        raise ApplicationError(reason, {"code": 7}, type="Refused", non_retryable=True) from error


@activity.defn
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@activity.defn
async def beat(steps: int) -> str:
    for step in range(steps):
        activity.heartbeat(step)
        await asyncio.sleep(0.02)
    return f"{steps} beats"


@activity.defn
async def hand_over() -> str:
    activity.raise_complete_async()


@workflow.defn
class Handing:
    """Waits for an activity that somebody else finishes."""

    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(
            hand_over,
            activity_id="handed",
            start_to_close_timeout=timedelta(seconds=60),
            heartbeat_timeout=timedelta(seconds=30),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


@workflow.defn
class Greeting:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(greet, name, start_to_close_timeout=timedelta(seconds=10))


@workflow.defn
class Tour:
    """Activities one after another and side by side, timers, a signal, a child and a patch."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @workflow.signal
    def visit(self, name: str) -> None:
        self.names.append(name)

    @workflow.run
    async def run(self, count: int) -> str:
        limit = timedelta(seconds=10)
        first = await workflow.execute_activity(greet, "first", start_to_close_timeout=limit)
        await workflow.sleep(timedelta(milliseconds=50))
        await workflow.wait_condition(lambda: len(self.names) >= count)
        both = await asyncio.gather(
            *[workflow.execute_activity(greet, name, start_to_close_timeout=limit) for name in self.names]
        )
        return ", ".join([first, *both])


@workflow.defn
class Refusing:
    @workflow.run
    async def run(self, reason: str) -> None:
        await workflow.execute_activity(refuse, reason, start_to_close_timeout=timedelta(seconds=10))


@workflow.defn
class Ordering:
    @workflow.run
    async def run(self, order: Order) -> Order:
        return dataclasses.replace(order, id=order.id + 1, items=[*order.items, "ü\n\"'"])


@workflow.defn
class Bytes:
    @workflow.run
    async def run(self, data: bytes) -> bytes:
        return data[::-1]


@workflow.defn
class Joining:
    @workflow.run
    async def run(self, a: str, b: int, c: bool) -> str:
        return f"{a}-{b}-{c}"


@workflow.defn
class Countdown:
    @workflow.run
    async def run(self, n: int) -> str:
        if n > 0:
            workflow.continue_as_new(n - 1)
        return "liftoff"


@workflow.defn
class Flaky:
    @workflow.run
    async def run(self) -> int:
        if workflow.info().attempt < 3:
            raise ApplicationError("not yet")
        return workflow.info().attempt


@workflow.defn
class Counter:
    def __init__(self) -> None:
        self.total = 0
        self.done = False

    @workflow.run
    async def run(self, start: int = 0) -> int:
        self.total += start
        try:
            await workflow.wait_condition(lambda: self.done)
        except asyncio.CancelledError:
            self.total = -1
            raise
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.total

    @workflow.signal
    def add(self, n: int) -> None:
        self.total += n

    @workflow.signal
    def finish(self) -> None:
        self.done = True

    @workflow.query
    def current(self) -> int:
        return self.total

    @workflow.query
    def plus(self, n: int) -> int:
        return self.total + n

    @workflow.query
    def broken(self) -> int:
        raise RuntimeError("cannot say")

    @workflow.update
    async def set(self, n: int) -> int:
        if n == 13:
            raise ApplicationError("unlucky", type="Superstition")
        old, self.total = self.total, n
        if n >= 100:
            await workflow.sleep(timedelta(milliseconds=200))
        return old

    @set.validator
    def check(self, n: int) -> None:
        if n < 0:
            raise ValueError("negative")


async def main() -> None:
    client = await Client.connect(sys.argv[1])
    worker = Worker(
        client,
        task_queue=sys.argv[2],
        workflows=[Greeting, Handing, Tour, Refusing, Ordering, Bytes, Joining, Countdown, Flaky, Counter],
        activities=[greet, refuse, beat, hand_over],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    await worker.run()


asyncio.run(main())
