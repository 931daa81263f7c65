#!/usr/bin/env python3
"""The table of operators from kernels/op_list.def, as Markdown.

    coverage.py             prints it
    coverage.py --check F   fails unless the generated part of F is up to date
    coverage.py --write F   brings it up to date
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- operators: written by tools/coverage.py -->", "<!-- end of operators -->"
CUDA_MARK = "†"
DOMAINS = {"onnx": "ai.onnx", "ml": "ai.onnx.ml", "preview": "ai.onnx.preview",
           "training": "ai.onnx.preview.training", "ms": "com.microsoft", "hugot": "hugot"}


def table():
    text = (ROOT / "kernels/op_list.def").read_text()
    lines = re.findall(r"^HUGOT_OP\((\w+), (\w+), (\w+), (\w+), (\w+), (\w+), ([\d, ]+)\)", text,
                       re.M)
    rows = {}
    for domain, name, room, _, cuda, gradient, _ in lines:
        full = name if domain == "onnx" else f"{DOMAINS[domain]}.{name}"
        shown = full if gradient == "yes" else f"*{full}*"
        rows.setdefault(room, []).append((full, shown + (CUDA_MARK if cuda == "yes" else "")))
    count = sum(domain == "onnx" for domain, *_ in lines)
    out = [f"{count} operators of ai.onnx, with all versions since opset 7, on the CPU. Those in italics have no "
           f"gradient rule;", f"{CUDA_MARK} marks those that have a CUDA kernel, which so far runs emulated only:",
           "", "| family | operators |", "|---|---|"]
    out += [f"| {room} | {', '.join(shown for _, shown in sorted(names))} |"
            for room, names in rows.items()]
    return "\n".join(out)


def main():
    if len(sys.argv) != 3:
        print(table())
        return 0
    path = ROOT / sys.argv[2]
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    fresh = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    if sys.argv[1] == "--write":
        path.write_text(fresh, encoding="utf-8")
    elif fresh != text:
        print(f"{path}: the table of operators is not up to date; "
              f"run tools/coverage.py --write {sys.argv[2]}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
