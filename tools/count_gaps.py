#!/usr/bin/env python3
"""Runs a conformance suite and tells what the engine does not have yet from wrong results.

    count_gaps.py PATTERN COMMAND..

The command prints a line per failure and ends with `N passed, N failed`. Failures whose line matches
the regular expression count as skipped and are not printed. The last line is
`N passed, N failed, N skipped`.
"""
import re
import subprocess
import sys

SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed$")


def main():
    gap = re.compile(sys.argv[1])
    result = subprocess.run(sys.argv[2:], capture_output=True, text=True)
    lines = result.stdout.splitlines()
    summary = SUMMARY.match(lines[-1]) if lines else None
    if result.returncode not in (0, 1) or summary is None:
        print(f"exit code {result.returncode}: {result.stderr.strip()}")
        return 1
    passed, failed = map(int, summary.groups())
    skipped = sum(gap.search(line) is not None for line in lines)
    for line in lines[:-1]:
        if not gap.search(line):
            print(line)
    failed -= skipped
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
