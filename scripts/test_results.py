"""What the suites of scripts/test came to: which tests failed, which are tried again, and what the last lines say.

Nothing here runs anything, so that test_results_test.py can try it with what suites have written.
"""

import json
import re
from dataclasses import dataclass, field

# More failures than these are no accident, so none of them is tried again.
MOST_SECOND_ATTEMPTS = 10


@dataclass
class Failure:
    """A test that failed, with what it said."""

    suite: str
    identity: str  # what finds the test again
    name: str  # what people read
    issues: list[str] = field(default_factory=list)
    place: str = ""  # the file of a test in TypeScript


@dataclass
class Outcome:
    """What one run of a suite came to."""

    suite: str
    passed: int = 0
    failures: list[Failure] = field(default_factory=list)
    # What went wrong beside tests: a crash, a check, no test at all. Each counts as a failure.
    faults: list[str] = field(default_factory=list)


def swift_outcome(suite: str, lines: list[str], status: int) -> Outcome:
    """Reads the events of Swift Testing, a JSON object a line (`swift test --event-stream-output-path`)."""
    outcome = Outcome(suite)
    planned: dict[str, str] = {}
    running: dict[str, None] = {}
    issues: dict[str, list[str]] = {}
    failed: list[str] = []
    has_ended = False
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            # The last line of a process that crashed while it wrote.
            continue
        payload = record.get("payload", {})
        if record.get("kind") == "test":
            if payload.get("kind") == "function":
                planned[payload["id"]] = test_name(payload)
            continue
        kind, test = payload.get("kind"), payload.get("testID")
        messages = payload.get("messages", [])
        is_failure = any(message.get("symbol") == "fail" for message in messages)
        if kind == "runEnded":
            has_ended = True
        elif kind == "issueRecorded" and is_failure:
            text = issue_text(payload)
            if test in planned:
                issues.setdefault(test, []).append(text)
            else:
                # An issue of a suite or of no test that is known: nothing could be tried again.
                outcome.faults.append(f"an issue outside of tests: {text}")
        elif test not in planned:
            continue
        elif kind == "testStarted":
            running[test] = None
        elif kind in ("testEnded", "testSkipped"):
            running.pop(test, None)
            if is_failure:
                failed.append(test)
            else:
                outcome.passed += 1
    outcome.failures = [Failure(suite, test, planned[test], issues.get(test, [])) for test in failed]
    if not has_ended:
        outcome.faults.append(crash_text(planned, running, outcome, issues, status))
    elif not planned:
        outcome.faults.append("no test ran")
    elif status != 0 and not failed and not outcome.faults:
        outcome.faults.append(f"the tests passed, but their process ended with status {status}")
    return outcome


def test_name(payload: dict) -> str:
    suite = payload["id"].split("/")[0].split(".", 1)[-1]
    name = payload.get("displayName") or payload["name"]
    return name if suite == payload["name"] or "/" not in payload["id"] else f"{suite}: {name}"


def issue_text(payload: dict) -> str:
    place = payload.get("issue", {}).get("sourceLocation") or {}
    text = "\n".join(message.get("text", "") for message in payload.get("messages", []))
    case = payload.get("_testCase", {}).get("displayName")
    return (
        (f"{place['fileID']}:{place['line']}: " if place else "")
        + (f"with {case}: " if case else "")
        + text
    )


def crash_text(planned: dict, running: dict, outcome: Outcome, issues: dict, status: int) -> str:
    if not planned:
        return f"no test ran, and the process ended with status {status}"
    missing = len(planned) - outcome.passed - len(outcome.failures)
    text = f"the process ended with status {status} before {missing} of {len(planned)} tests had"
    for test in running:
        text += f"\nrunning then: {planned[test]}"
        for issue in issues.get(test, []):
            text += f"\n{issue}"
    return text


def runtime_outcome(log: str, status: int) -> Outcome:
    """Reads what scripts/test-runtime has printed."""
    outcome = Outcome("runtime")
    counts = re.findall(r"^runtime: (\d+) passed, (\d+) failed, (\d+) checks failed$", log, re.MULTILINE)
    if not counts:
        outcome.faults.append(f"no test ran, and scripts/test-runtime ended with status {status}")
        return outcome
    outcome.passed, failed, checks = map(int, counts[-1])
    # Deno says why under ERRORS, and names each failed test, or its failed step, with its place under FAILURES.
    errors, _, failures = log.partition("\n FAILURES \n")
    found: dict[tuple[str, str], list[str]] = {}
    for title, file in re.findall(r"^(\S.*) => (\./\S+?):\d+:\d+$", failures, re.MULTILINE):
        said = re.search(rf"^{re.escape(title)} => .*\n((?:.*\S.*\n)+)", errors, re.MULTILINE)
        found.setdefault((title.split(" ... ")[0], file), []).append(said[1] if said else "")
    if len(found) == failed:
        for (name, file), said in found.items():
            outcome.failures.append(Failure("runtime", name, f"{file}: {name}", said, file))
    else:
        outcome.faults += ["a test failed; see above for its name"] * failed
    outcome.faults += ["a check of format, lint or types failed; see above"] * checks
    if status != 0 and not failed and not checks:
        outcome.faults.append(f"scripts/test-runtime ended with status {status}")
    return outcome


def scripts_outcome(log: str, status: int) -> Outcome:
    """Reads what Python's unittest has printed."""
    outcome = Outcome("scripts")
    ran = re.findall(r"^Ran (\d+) tests? in ", log, re.MULTILINE)
    failed = re.findall(r"^(?:FAIL|ERROR): (.*)$", log, re.MULTILINE)
    if not ran or ran[-1] == "0":
        outcome.faults.append(f"no test ran, and the process ended with status {status}")
        return outcome
    outcome.passed = int(ran[-1]) - len(failed)
    outcome.faults = [f"{name}; see above" for name in failed]
    if status != 0 and not failed:
        outcome.faults.append(f"the process ended with status {status}")
    return outcome


def worth_second_attempt(outcomes: list[Outcome]) -> list[Failure]:
    """The failures that are tried again, each alone: none of a suite that crashed, and none when there are many."""
    failures = [
        failure for outcome in outcomes if not outcome.faults for failure in outcome.failures if failure.identity
    ]
    return failures if len(failures) <= MOST_SECOND_ATTEMPTS else []


def report(outcomes: list[Outcome], second: list[Failure]) -> tuple[list[str], bool]:
    """The lines that end the run, and whether all is well; `second` passed at the second attempt."""
    lines: list[str] = []
    passed, failed, broken = 0, 0, []
    for outcome in outcomes:
        passed += outcome.passed
        rest = [failure for failure in outcome.failures if failure not in second]
        passed += len(outcome.failures) - len(rest)
        failed += len(rest) + len(outcome.faults)
        if rest or outcome.faults:
            broken.append(outcome.suite)
    for failure in second:
        lines.append(f"passed at the second attempt: {failure.suite}: {failure.name}")
        lines += indented(failure.issues)
    for outcome in outcomes:
        for failure in outcome.failures:
            if failure not in second:
                lines.append(f"failed: {failure.suite}: {failure.name}")
                lines += indented(failure.issues)
        for fault in outcome.faults:
            first, *others = fault.split("\n")
            lines.append(f"failed: {outcome.suite}: {first}")
            lines += indented(others)
    if broken:
        lines.append("suites with failures: " + " ".join(broken))
    again = f" ({len(second)} at the second attempt)" if second else ""
    lines.append(f"{passed} passed{again}, {failed} failed")
    return lines, failed == 0 and passed > 0


def indented(texts: list[str], at_most: int = 40) -> list[str]:
    lines = [line for text in texts for line in text.rstrip().split("\n")]
    shown = ["    " + line for line in lines[:at_most]]
    return shown if len(lines) <= at_most else shown + [f"    and {len(lines) - at_most} more lines, above"]
