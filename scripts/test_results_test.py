"""Tests of scripts/test: what it makes of suites that pass, fail, fail once, crash, or run nothing."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import test_results as results


def planned(name, suite="LeaseTests"):
    identity = f"DaemonTests.{suite}/`{name}`()/LeaseTests.swift:9:6"
    return {
        "kind": "test",
        "payload": {"kind": "function", "id": identity, "name": f"`{name}`()", "displayName": name},
    }


def event(kind, name=None, symbol="default", text="", suite="LeaseTests"):
    payload = {"kind": kind, "messages": [{"symbol": symbol, "text": text}]}
    if name:
        payload["testID"] = planned(name, suite)["payload"]["id"]
    if kind == "issueRecorded":
        payload["issue"] = {"sourceLocation": {"fileID": "DaemonTests/LeaseTests.swift", "line": 9}}
    return {"kind": "event", "payload": payload}


def stream(*records):
    return [json.dumps(record) for record in records]


def one(name, *between, symbol="pass"):
    return [planned(name), event("testStarted", name), *between, event("testEnded", name, symbol)]


def failing(name, text="Expectation failed: 1 == 2"):
    return one(name, event("issueRecorded", name, "fail", text), symbol="fail")


class ReadingSwift(unittest.TestCase):
    def test_a_failed_test_has_its_name_and_what_it_said(self):
        lines = stream(*one("good"), *failing("bad"), event("runEnded"))
        outcome = results.swift_outcome("DaemonTests", lines, 1)
        self.assertEqual(outcome.passed, 1)
        self.assertEqual([failure.name for failure in outcome.failures], ["LeaseTests: bad"])
        self.assertEqual(
            outcome.failures[0].issues, ["DaemonTests/LeaseTests.swift:9: Expectation failed: 1 == 2"]
        )
        self.assertEqual(outcome.faults, [])

    def test_a_known_issue_is_no_failure(self):
        known = event("issueRecorded", "good", "passWithKnownIssue", "Expectation failed")
        outcome = results.swift_outcome("X", stream(*one("good", known), event("runEnded")), 0)
        self.assertEqual((outcome.passed, outcome.failures, outcome.faults), (1, [], []))

    def test_a_crash_says_what_ran_and_is_never_tried_again(self):
        lines = stream(
            *one("good"), *failing("bad"), planned("later"), planned("guilty"), event("testStarted", "guilty")
        )
        outcome = results.swift_outcome("X", [*lines, '{"kind":"ev'], 1)
        self.assertEqual(outcome.passed, 1)
        self.assertEqual(len(outcome.faults), 1)
        self.assertIn("before 2 of 4 tests had", outcome.faults[0])
        self.assertIn("running then: LeaseTests: guilty", outcome.faults[0])
        self.assertNotIn("later", outcome.faults[0])
        self.assertEqual(results.worth_second_attempt([outcome]), [])

    def test_an_issue_outside_of_tests_is_a_failure(self):
        lines = stream(*one("good"), event("issueRecorded", None, "fail", "boo"), event("runEnded"))
        self.assertIn("boo", results.swift_outcome("X", lines, 1).faults[0])

    def test_no_test_is_a_failure(self):
        for lines in ([], stream(event("runEnded"))):
            self.assertEqual(len(results.swift_outcome("X", lines, 0).faults), 1)

    def test_a_bad_status_after_good_tests_is_a_failure(self):
        self.assertEqual(len(results.swift_outcome("X", stream(*one("good"), event("runEnded")), 1).faults), 1)


class ReadingTypeScript(unittest.TestCase):
    log = textwrap.dedent(
        """\
        good ... ok (2ms)

         ERRORS\x20

        a bad => one => ./Runtime/a_test.ts:2:6
        error: Error: boo
            at file:///a_test.ts:2:59

        steps ... inner => ./Runtime/b_test.ts:3:48
        error: Error: in

         FAILURES\x20

        a bad => one => ./Runtime/a_test.ts:2:6
        steps ... inner => ./Runtime/b_test.ts:3:48

        FAILED | 1 passed | 2 failed (1 step) (20ms)
        """
    )

    def test_failed_tests_are_named_with_what_they_said(self):
        outcome = results.runtime_outcome(self.log + "runtime: 1 passed, 2 failed, 0 checks failed\n", 1)
        self.assertEqual(outcome.passed, 1)
        self.assertEqual(outcome.faults, [])
        self.assertEqual([failure.identity for failure in outcome.failures], ["a bad => one", "steps"])
        self.assertEqual(outcome.failures[1].place, "./Runtime/b_test.ts")
        self.assertIn("error: Error: boo", outcome.failures[0].issues[0])

    def test_a_failed_check_is_a_failure_that_is_never_tried_again(self):
        outcome = results.runtime_outcome(self.log + "runtime: 1 passed, 2 failed, 1 checks failed\n", 1)
        self.assertEqual(len(outcome.faults), 1)
        self.assertEqual(results.worth_second_attempt([outcome]), [])

    def test_failures_without_names_count(self):
        outcome = results.runtime_outcome("runtime: 1 passed, 2 failed, 0 checks failed\n", 1)
        self.assertEqual((len(outcome.failures), len(outcome.faults)), (0, 2))

    def test_no_test_is_a_failure(self):
        self.assertEqual(len(results.runtime_outcome("no test of the runtime ran\n", 1).faults), 1)


class Reporting(unittest.TestCase):
    def outcome(self, *names, faults=()):
        failures = [results.Failure("DaemonTests", name, name, ["at a line"]) for name in names]
        return results.Outcome("DaemonTests", 5, failures, list(faults))

    def test_all_is_well(self):
        self.assertEqual(results.report([self.outcome()], []), (["5 passed, 0 failed"], True))

    def test_a_second_attempt_is_said_openly(self):
        outcome = self.outcome("bad")
        lines, is_good = results.report([outcome], outcome.failures)
        self.assertTrue(is_good)
        self.assertEqual(lines[0], "passed at the second attempt: DaemonTests: bad")
        self.assertEqual(lines[1], "    at a line")
        self.assertEqual(lines[-1], "6 passed (1 at the second attempt), 0 failed")

    def test_a_failure_ends_the_run_with_its_name(self):
        lines, is_good = results.report([self.outcome("bad", "once")], self.outcome("once").failures)
        self.assertFalse(is_good)
        self.assertEqual(lines[2:4], ["failed: DaemonTests: bad", "    at a line"])
        self.assertEqual(lines[-2], "suites with failures: DaemonTests")
        self.assertEqual(lines[-1], "6 passed (1 at the second attempt), 1 failed")

    def test_faults_count(self):
        lines, is_good = results.report([self.outcome(faults=["a crash\nof this"])], [])
        self.assertFalse(is_good)
        self.assertEqual(lines[:2], ["failed: DaemonTests: a crash", "    of this"])
        self.assertEqual(lines[-1], "5 passed, 1 failed")

    def test_many_failures_are_no_accident(self):
        names = [f"bad {number}" for number in range(results.MOST_SECOND_ATTEMPTS + 1)]
        self.assertEqual(results.worth_second_attempt([self.outcome(*names)]), [])
        self.assertEqual(len(results.worth_second_attempt([self.outcome(*names[1:])])), len(names) - 1)

    def test_nothing_is_no_success(self):
        self.assertFalse(results.report([], [])[1])


class RunningAll(unittest.TestCase):
    """The script itself, with a `swift` that plays what the folder "plan" says: the first run, then the second."""

    swift = """\
        #!/usr/bin/env python3
        import sys
        from pathlib import Path
        if sys.argv[1] == "test":
            Path("log").open("a").write(sys.argv[sys.argv.index("--filter") + 1] + "\\n")
            plan = sorted(Path("plan").iterdir())[0]
            text = plan.read_text()
            plan.unlink()
            Path(sys.argv[sys.argv.index("--event-stream-output-path") + 1]).write_text(text)
            sys.exit(1 if '"fail"' in text or "runEnded" not in text else 0)
        """

    def play(self, *runs):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for part in ("scripts", "bin", "plan", "Tests/DaemonTests"):
                (folder / part).mkdir(parents=True)
            for script in ("test", "test_results.py"):
                shutil.copy(Path(__file__).parent / script, folder / "scripts" / script)
            program = folder / "bin/swift"
            program.write_text(textwrap.dedent(self.swift))
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
            for number, records in enumerate(runs):
                (folder / f"plan/{number}").write_text("\n".join(stream(*records)))
            run = subprocess.run(
                [folder / "scripts/test", "DaemonTests", "--", "--disable-xctest"],
                env={**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}"},
                capture_output=True,
                text=True,
                timeout=60,
            )
            asked = (folder / "log").read_text().splitlines()
            return run.returncode, run.stdout.splitlines(), asked

    def test_a_test_that_fails_once_is_run_again_alone(self):
        status, lines, asked = self.play(
            [*one("good"), *failing("bad (once)"), event("runEnded")],
            [*one("bad (once)"), event("runEnded")],
        )
        self.assertEqual(status, 0, lines)
        self.assertEqual(lines[-1], "2 passed (1 at the second attempt), 0 failed")
        self.assertIn("passed at the second attempt: DaemonTests: LeaseTests: bad (once)", lines)
        self.assertIn("    DaemonTests/LeaseTests.swift:9: Expectation failed: 1 == 2", lines)
        self.assertEqual(asked[0], r"^DaemonTests\.")
        self.assertTrue(asked[1].startswith(r"^DaemonTests\.LeaseTests/`bad\ \(once\)`\(\)/"), asked)

    def test_a_test_that_fails_twice_is_a_failure(self):
        bad = [*failing("bad"), event("runEnded")]
        status, lines, asked = self.play([*one("good"), *bad], bad)
        self.assertEqual(status, 1)
        self.assertEqual(lines[-1], "1 passed, 1 failed")
        self.assertIn("failed: DaemonTests: LeaseTests: bad", lines)
        self.assertEqual(len(asked), 2)

    def test_a_crash_is_a_failure_at_once(self):
        status, lines, asked = self.play([planned("guilty"), event("testStarted", "guilty")])
        self.assertEqual(status, 1)
        self.assertIn("    running then: LeaseTests: guilty", lines)
        self.assertEqual(lines[-1], "0 passed, 1 failed")
        self.assertEqual(len(asked), 1)

    def test_a_second_attempt_that_runs_nothing_is_a_failure(self):
        status, lines, _ = self.play([*failing("bad"), event("runEnded")], [event("runEnded")])
        self.assertEqual((status, lines[-1]), (1, "0 passed, 1 failed"))


if __name__ == "__main__":
    unittest.main()
