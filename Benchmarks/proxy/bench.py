#!/usr/bin/env python3
"""Compares the proxy with nginx, haproxy, Caddy and Envoy: processor time for each request, in interleaved rounds.

Every proxy runs on processor 0, the load and the upstream on processor 1. Access logs and metrics are on for all.
The figure is time on a processor by the scheduler's accounting, divided by the requests that were answered; the ratio
is that of the same round to nginx, and what is printed is the median of the rounds.
"""
import argparse
import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

from servers import ALL, Server, Upstream, build, program

BROWSER = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.9", "Accept-Encoding: gzip, deflate, br, zstd",
    "Cookie: session=eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.x; theme=dark",
    "Referer: https://app1.example.com/", "Sec-Fetch-Dest: document", "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin", "Cache-Control: max-age=0",
]


def wrk(port, connections, seconds, path="/", headers=(), processors="1"):
    """Requests answered, and how many of them or of the connections failed."""
    lines = [part for header in headers for part in ("-H", header)]
    output = subprocess.run(
        ["taskset", "-c", processors, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
         "-H", "Host: app1.example.com", *lines, f"http://127.0.0.1:{port}{path}"],
        capture_output=True, text=True).stdout
    answered = int(re.search(r"(\d+) requests in", output)[1])
    failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", output)))
    for line in re.findall(r"Socket errors: (.*)", output):
        failed += sum(map(int, re.findall(r"\d+", line)))
    return answered, failed


def echo(folder, port, connections, seconds):
    output = subprocess.run(["taskset", "-c", "1", f"{folder}/echoload", str(port), str(connections), str(seconds)],
                            capture_output=True, text=True)
    if output.returncode != 0:
        raise RuntimeError(output.stderr)
    return int(output.stdout), 0


def table(title, names, rounds, measure):
    """Runs the rounds and prints a line for each proxy."""
    costs = {name: [] for name in names}
    rates = {name: [] for name in names}
    failures = dict.fromkeys(names, 0)
    for index in range(rounds + 1):
        for name, server in names.items():
            before = server.cpu()
            answered, failed, seconds = measure(server, index == 0)
            if index == 0:
                continue
            costs[name].append((server.cpu() - before) / max(answered, 1) / 1000)
            rates[name].append(answered / seconds)
            failures[name] += failed
    base = "nginx" if "nginx" in names else next(iter(names))
    print(f"\n{title}   ({rounds} rounds, load {os.getloadavg()[0]:.1f})")
    print(f"  {'':9}{'CPU us':>8}{'ratio':>8}   {'min..max':<14}{'per second':>11}{'failed':>8}")
    result = {}
    for name in names:
        ratios = [a / b for a, b in zip(costs[name], costs[base])]
        result[name] = statistics.median(ratios)
        print(f"  {name:9}{statistics.median(costs[name]):8.2f}{result[name]:8.2f}   "
              f"{min(ratios):.2f}..{max(ratios):<9.2f}{statistics.median(rates[name]):11.0f}{failures[name]:8}",
              flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["small", "browser", "big", "echo"],
                        help="small browser big echo (default: all)")
    parser.add_argument("--proxies", default=",".join(ALL),
                        help="also relay-epoll, relay-splice and relay-uring: what the kernel alone costs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--connections", default="1,16,64")
    arguments = parser.parse_args()
    if program("martlet") is None:
        sys.exit("set MARTLET_PROXY to the release build of martlet-proxy")
    folder = tempfile.mkdtemp(prefix="proxy-bench-")
    os.chmod(folder, 0o755)
    build(folder)
    failed = False
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        upstream = Upstream(folder)
        stack.callback(upstream.stop)
        servers = {}
        for name in arguments.proxies.split(","):
            try:
                servers[name] = Server(name, folder, upstream.path)
                stack.callback(servers[name].stop)
            except FileNotFoundError:
                print(f"{name} is not installed: left out")

        def load(connections, path="/", headers=()):
            def measure(server, is_first):
                seconds = 1 if is_first else arguments.seconds
                return *wrk(server.port, connections, seconds, path, headers), seconds
            return measure

        def echoes(server, is_first):
            seconds = 1 if is_first else arguments.seconds
            return *echo(folder, server.port, 16, seconds), seconds

        def check(title, goal, measure):
            nonlocal failed
            ratio = table(title, servers, arguments.rounds, measure).get("martlet")
            if ratio is not None and "nginx" in servers:
                failed |= ratio > goal
                print(f"  goal: at most {goal} of nginx: {'reached' if ratio <= goal else 'MISSED'}", flush=True)

        for what in arguments.what:
            if what == "small":
                for connections in map(int, arguments.connections.split(",")):
                    check(f"small request, {connections} connections", 0.8, load(connections))
            elif what == "browser":
                check("small request with a browser's headers, 16 connections", 0.8, load(16, headers=BROWSER))
            elif what == "big":
                check("100 KB body, 16 connections", 0.7, load(16, "/100k"))
            elif what == "echo":
                check("WebSocket echo of 32 bytes, 16 connections", 1.0, echoes)
            else:
                sys.exit(f"unknown: {what}")
        for name, server in servers.items():
            print(f"memory of {name}: {server.memory() / 1024:.1f} MB")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
