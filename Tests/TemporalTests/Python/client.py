"""A client of the official Python SDK that checks workflows of another language.

usage: client.py ADDRESS TASK_QUEUE
"""

import asyncio
import os
import sys

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError


async def approves(client: Client, queue: str) -> None:
    handle = await client.start_workflow("Approval", "Ada", id="approval", task_queue=queue, result_type=str)
    assert await handle.query("phase", result_type=str) == "waiting"
    old = await handle.execute_update("rename", "Grace", result_type=str)
    assert old == "Ada", old
    try:
        await handle.execute_update("rename", "")
        raise AssertionError("an update without a name was accepted")
    except WorkflowUpdateFailedError as error:
        assert isinstance(error.cause, ApplicationError), error.cause
        assert error.cause.type == "Invalid" and error.cause.message == "a name is needed", error.cause
    try:
        await handle.query("absent")
        raise AssertionError("an unknown query was answered")
    except WorkflowQueryFailedError:
        pass
    await handle.signal("approve", True)
    result = await handle.result()
    assert result == "Hello Hello Grace, Hello all", result
    assert await handle.query("phase", result_type=str) == "done"


async def starts_with_update(client: Client, queue: str) -> None:
    start = WithStartWorkflowOperation(
        "Approval", "Ada", id="with-start", task_queue=queue, id_conflict_policy=WorkflowIDConflictPolicy.FAIL
    )
    await client.execute_update_with_start_workflow("rename", "Bo", start_workflow_operation=start)
    handle = await start.workflow_handle()
    await handle.signal("approve", True)
    await handle.result()


async def fails(client: Client, queue: str) -> None:
    try:
        await client.execute_workflow("Complaining", "too loud", id="complaint", task_queue=queue)
        raise AssertionError("the workflow did not fail")
    except WorkflowFailureError as error:
        outer = error.cause
        assert isinstance(outer, ApplicationError), outer
        assert outer.type == "Outer" and outer.non_retryable, outer
        assert list(outer.details) == [{"code": 7}], outer.details
        assert ".swift:" in outer.failure.stack_trace, outer.failure.stack_trace
        inner = outer.cause
        assert isinstance(inner, ActivityError), inner
        assert inner.activity_type == "fail", inner.activity_type
        root = inner.cause
        assert isinstance(root, ApplicationError), root
        assert root.type == "Sample" and root.message == "too loud", root


async def cancels(client: Client, queue: str) -> None:
    handle = await client.start_workflow("Approval", "Ada", id="canceled", task_queue=queue)
    assert await handle.query("phase", result_type=str) == "waiting"
    await handle.cancel()
    try:
        await handle.result()
        raise AssertionError("the workflow was not cancelled")
    except WorkflowFailureError as error:
        assert isinstance(error.cause, CancelledError), error.cause


async def main() -> None:
    client = await Client.connect(sys.argv[1])
    for check in (approves, starts_with_update, fails, cancels):
        await check(client, sys.argv[2])
        print("passed", check.__name__, flush=True)
    print("all passed", flush=True)


asyncio.run(main())
# Without the interpreter's own end, in which a thread of the SDK now and then aborts the process.
os._exit(0)
