"""Compares workers of this project's Temporal library with those of the official Python SDK.

Both kinds work for the same in-memory development server, in interleaved rounds; this program starts the workflows
and reads the workers' CPU time and memory from /proc.

Usage: bench.py SWIFT_WORKER TEMPORAL [throughput|backlog|memory|cache|replay ...]
"""
import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer, Worker


@activity.defn
async def echo(number: int) -> int:
    return number


@workflow.defn(name="Single")
class Single:
    @workflow.run
    async def run(self, number: int) -> int:
        return await workflow.execute_activity(echo, number, start_to_close_timeout=timedelta(seconds=60))


@workflow.defn(name="Idle")
class Idle:
    def __init__(self) -> None:
        self.finished = False

    @workflow.signal
    def finish(self) -> None:
        self.finished = True

    @workflow.run
    async def run(self, number: int) -> int:
        await workflow.wait_condition(lambda: self.finished)
        return number


@workflow.defn(name="Long")
class Long:
    @workflow.run
    async def run(self, count: int) -> int:
        total = 0
        for index in range(count):
            total += await workflow.execute_activity(echo, index, start_to_close_timeout=timedelta(seconds=60))
        return total


async def serve(address: str, queue: str) -> None:
    client = await Client.connect(address)
    with ThreadPoolExecutor(100) as executor:
        async with Worker(client, task_queue=queue, workflows=[Single, Idle, Long], activities=[echo],
                          max_cached_workflows=20_000, workflow_task_executor=executor):
            await asyncio.Event().wait()


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(process: int) -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0


class Bench:
    def __init__(self, swift: str, address: str, client: Client) -> None:
        self.commands = {"swift": [swift, "worker"], "python": [sys.executable, __file__, "serve"]}
        self.address = address
        self.client = client

    async def worker(self, kind: str):
        queue = f"{kind}-{uuid.uuid4()}"
        process = subprocess.Popen([*self.commands[kind], self.address, queue])
        # Its first workflow shows that it is there.
        await self.client.execute_workflow("Single", 0, id=str(uuid.uuid4()), task_queue=queue)
        return process, queue

    async def many(self, name: str, count: int, queue: str, wait: bool, flight: int = 50) -> list:
        gate = asyncio.Semaphore(flight)

        async def one(number: int):
            async with gate:
                handle = await self.client.start_workflow(name, number, id=str(uuid.uuid4()), task_queue=queue)
                if wait:
                    await handle.result()
                return handle

        return await asyncio.gather(*(one(number) for number in range(count)))

    async def throughput(self, count: int = 600, rounds: int = 3) -> None:
        figures: dict[str, list[tuple[float, float]]] = {"swift": [], "python": []}
        for _ in range(rounds):
            for kind in figures:
                process, queue = await self.worker(kind)
                before, start = cpu_seconds(process.pid), time.monotonic()
                await self.many("Single", count, queue, wait=True)
                took = time.monotonic() - start
                figures[kind].append((count / took, (cpu_seconds(process.pid) - before) * 1000 / count))
                process.send_signal(signal.SIGTERM)
                process.wait()
        for kind, values in figures.items():
            print(f"{kind}: {statistics.median(v[0] for v in values):.1f} workflows/s, "
                  f"{statistics.median(v[1] for v in values):.2f} ms of worker CPU each")

    async def backlog(self, count: int = 800, rounds: int = 3) -> None:
        """How fast workflows that wait already are done: nobody starts or awaits any meanwhile, so that the worker and
        the server have the machine for themselves."""
        figures: dict[str, list[float]] = {"swift": [], "python": []}
        for _ in range(rounds):
            for kind in figures:
                process, queue = await self.worker(kind)
                await self.many("Single", 50, queue, wait=True)
                process.send_signal(signal.SIGSTOP)
                await self.many("Single", count, queue, wait=False)
                running = f"TaskQueue = '{queue}' AND ExecutionStatus = 'Running'"
                while (await self.client.count_workflows(running)).count < count:
                    await asyncio.sleep(0.1)
                start = time.monotonic()
                process.send_signal(signal.SIGCONT)
                while (await self.client.count_workflows(running)).count > 0:
                    await asyncio.sleep(0.1)
                figures[kind].append(count / (time.monotonic() - start))
                process.send_signal(signal.SIGTERM)
                process.wait()
        for kind, values in figures.items():
            print(f"{kind}: {statistics.median(values):.1f} workflows/s from a backlog of {count}")

    async def memory(self, count: int = 5000, kinds: tuple[str, ...] = ("swift", "python")) -> None:
        for kind in kinds:
            process, queue = await self.worker(kind)
            await self.many("Single", 200, queue, wait=True)
            before = resident_megabytes(process.pid)
            handles = await self.many("Idle", count, queue, wait=False)
            # All have been worked on when a sample of them has answered its first workflow task.
            for handle in handles[:: max(1, count // 200)] + handles[-50:]:
                while (await handle.describe()).history_length < 4:
                    await asyncio.sleep(0.1)
            after = resident_megabytes(process.pid)
            print(f"{kind}: {count} cached workflows, {before:.0f} MB -> {after:.0f} MB, "
                  f"{(after - before) * 1024 / count:.1f} KB each")
            process.send_signal(signal.SIGTERM)
            process.wait()

    async def cache(self) -> None:
        await self.memory(10_000, ("swift",))

    async def replay(self, activities: int = 167) -> None:
        process, queue = await self.worker("swift")
        handle = await self.client.start_workflow("Long", activities, id=str(uuid.uuid4()), task_queue=queue)
        await handle.result()
        process.send_signal(signal.SIGTERM)
        process.wait()
        history = await handle.fetch_history()
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(history.to_json())
            file.flush()
            replayer = Replayer(workflows=[Long])
            await replayer.replay_workflow(history)
            swift, python = [], []
            for _ in range(5):
                start = time.monotonic()
                for _ in range(5):
                    await replayer.replay_workflow(history)
                python.append((time.monotonic() - start) / 5)
                output = subprocess.run([self.commands["swift"][0], "replay", file.name, "20"],
                                        capture_output=True, text=True, check=True)
                swift.append(float(output.stdout))
        a, b = statistics.median(swift), statistics.median(python)
        print(f"replay of {len(history.events)} events: swift {a * 1000:.2f} ms, python {b * 1000:.2f} ms, "
              f"{b / a:.1f} times")


async def main() -> None:
    swift, temporal, *names = sys.argv[1:]
    with socket.socket() as probe, socket.socket() as second:
        probe.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        port, other = probe.getsockname()[1], second.getsockname()[1]
    server = subprocess.Popen(
        [temporal, "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port),
         "--http-port", str(other), "--log-level", "error"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"127.0.0.1:{port}"
        for _ in range(100):
            try:
                client = await Client.connect(address)
                break
            except Exception:
                await asyncio.sleep(0.1)
        bench = Bench(swift, address, client)
        for name in names or ["throughput", "backlog", "memory", "replay"]:
            await getattr(bench, name)()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(sys.argv[2], sys.argv[3]))
    else:
        asyncio.run(main())
