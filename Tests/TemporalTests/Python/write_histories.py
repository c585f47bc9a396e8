"""Runs workflows on the official SDK's worker and writes their histories as JSON.

Usage: write_histories.py HOST:PORT FOLDER
"""
import asyncio
import os
import sys
import uuid
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
from temporalio.worker import Worker

SOON = timedelta(seconds=10)


@activity.defn
async def greet(name: str) -> str:
    return f"Hello {name}"


@activity.defn
async def fail(message: str) -> str:
    raise ApplicationError(message, type="Sample", non_retryable=True)


@workflow.defn(name="Child")
class Child:
    @workflow.run
    async def run(self, name: str) -> str:
        await workflow.sleep(0.01)
        return f"child of {name}"


@workflow.defn(name="Order")
class Order:
    def __init__(self) -> None:
        self.items: list[str] = []
        self.closed = False

    @workflow.signal
    async def add(self, item: str) -> None:
        self.items.append(item)

    @workflow.signal
    async def slow_add(self, item: str) -> None:
        self.items.append(await workflow.execute_activity(greet, item, start_to_close_timeout=SOON))

    @workflow.update
    async def close(self, reason: str) -> int:
        await workflow.execute_activity(greet, reason, start_to_close_timeout=SOON)
        self.closed = True
        return len(self.items)

    @close.validator
    def check(self, reason: str) -> None:
        if not reason:
            raise ApplicationError("a reason is needed")

    @workflow.run
    async def run(self, name: str) -> list[str]:
        await workflow.wait_condition(lambda: len(self.items) >= 2)
        try:
            await workflow.wait_condition(lambda: False, timeout=0.05)
        except asyncio.TimeoutError:
            self.items.append("timeout")
        if workflow.patched("local"):
            self.items.append(
                await workflow.execute_local_activity(greet, "local", start_to_close_timeout=SOON))
        both = await asyncio.gather(
            workflow.execute_activity(greet, "one", start_to_close_timeout=SOON),
            workflow.execute_activity(greet, "two", start_to_close_timeout=SOON))
        self.items.extend(both)
        try:
            await workflow.execute_activity(fail, "no", start_to_close_timeout=SOON)
        except ActivityError as error:
            self.items.append(error.cause.message)
        handle = await workflow.start_child_workflow(Child.run, name, id=f"{workflow.info().workflow_id}-child")
        self.items.append(await handle)
        await workflow.wait_condition(lambda: self.closed, timeout=60)
        workflow.upsert_memo({"state": "closed"})
        return self.items


@workflow.defn(name="Cancelled")
class Cancelled:
    @workflow.run
    async def run(self, name: str) -> str:
        try:
            await workflow.sleep(3600)
        except BaseException as error:
            if not is_cancelled_exception(error):
                raise
            await workflow.execute_activity(greet, "cleaner", start_to_close_timeout=SOON)
            raise
        return "not cancelled"


@workflow.defn(name="Rounds")
class Rounds:
    @workflow.run
    async def run(self, count: int) -> int:
        for index in range(40):
            await workflow.execute_activity(greet, str(index), start_to_close_timeout=SOON)
        if count < 1:
            workflow.continue_as_new(count + 1)
        return count


async def main() -> None:
    client = await Client.connect(sys.argv[1])
    folder = Path(sys.argv[2])
    queue = f"python-{uuid.uuid4()}"
    async with Worker(
        client, task_queue=queue, workflows=[Child, Order, Cancelled, Rounds], activities=[greet, fail]
    ):
        order = await client.start_workflow(Order.run, "Ada", id=f"order-{uuid.uuid4()}", task_queue=queue,
                                            start_signal="add", start_signal_args=["first"])
        await order.signal(Order.slow_add, "second")
        await order.signal(Order.add, "third")
        try:
            await order.execute_update(Order.close, "")
        except Exception:
            pass
        await order.execute_update(Order.close, "enough")
        await order.result()
        cancelled = await client.start_workflow(Cancelled.run, "x", id=f"cancelled-{uuid.uuid4()}", task_queue=queue)
        # Not before it sleeps: its function would not even begin.
        while (await cancelled.describe()).history_length < 5:
            await asyncio.sleep(0.05)
        await cancelled.cancel()
        try:
            await cancelled.result()
        except Exception:
            pass
        rounds = await client.start_workflow(Rounds.run, 0, id=f"rounds-{uuid.uuid4()}", task_queue=queue)
        first_run = client.get_workflow_handle(rounds.id, run_id=rounds.first_execution_run_id)
        await rounds.result()
        for name, handle in [("Order", order), ("Cancelled", cancelled), ("Rounds", first_run)]:
            history = await handle.fetch_history()
            (folder / f"{name}.json").write_text(history.to_json())


if __name__ == "__main__":
    asyncio.run(main())
    # Without the interpreter's own end: now and then a thread of the SDK aborts the process in it
    # ("PyGILState_Release: thread state must be current when releasing").
    os._exit(0)
