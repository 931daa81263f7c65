#!/usr/bin/env python3
"""Runs `hugot onnx-test` and tells operators that are not there yet from wrong results.

    onnx_suite.py HUGOT ROOT

Prints every failure; the last line is `N passed, N failed, N skipped`, where skipped are the cases
that need an operator which the engine does not implement.
"""
import subprocess
import sys


def main():
    result = subprocess.run([sys.argv[1], "onnx-test", sys.argv[2]], capture_output=True, text=True)
    lines = result.stdout.splitlines()
    failures = [line for line in lines if line.startswith("FAIL ")]
    missing = [line for line in failures if line.endswith("is not implemented")]
    for line in failures:
        if line not in missing:
            print(line)
    words = lines[-1].replace(",", "").split() if lines else []
    if result.returncode not in (0, 1) or len(words) != 4 or words[1::2] != ["passed", "failed"]:
        print(f"hugot onnx-test ended with {result.returncode}: {result.stderr.strip()}")
        return 1
    failed = int(words[2]) - len(missing)
    print(f"{words[0]} passed, {failed} failed, {len(missing)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
