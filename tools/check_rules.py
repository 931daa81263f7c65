#!/usr/bin/env python3
"""Checks the rules of the code base that no compiler knows.

    check_rules.py [--build DIR]... [--counts FILE]

A check is one rule on one file. With --build, the objects of the vector kernels are checked, too.
The last line is `N passed, N failed`.
"""
import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# A folder may include itself and what it lists here (docs/architecture.md, "Layers").
LAYERS = {
    "include/hugot": [],
    "base": ["include/hugot"],
    "images": ["base"],
    "graph": ["base"],
    "onnx": ["graph"],
    "kernels": ["graph", "images"],
    "tokenizer": ["base"],
    "autodiff": ["onnx", "kernels", "tokenizer"],
    "models": ["autodiff"],
    "pipelines": ["models"],
    "tools": ["pipelines"],
    "tests": ["tools"],
    "examples": ["include/hugot"],
}
MAX_LINES = 600
SOURCE_ENDINGS = {".h", ".hpp", ".cc", ".c", ".cu", ".def"}
TEXT_ENDINGS = SOURCE_ENDINGS | {".py", ".sh", ".md", ".build", ".txt", ".proto", ".map"}
# Written by scripts; not for reading.
GENERATED = {"base/code_point_tables.inc", "base/unicode_tables.inc", "kernels/text/uppercase_table.inc"}
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
MACHINE_PATH = re.compile(r"(?<![\w.$}])/(home|root|work|tmp/w)/\w")

passed = 0
failures = []


def check(ok, what):
    global passed
    if ok:
        passed += 1
    else:
        failures.append(what)


def tracked_files():
    """Files of the repository, tracked or not yet, without what git ignores."""
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                             capture_output=True, text=True).stdout
    return [name for name in listing.splitlines() if (ROOT / name).is_file()]


def allowed(layer):
    result, todo = set(), [layer]
    while todo:
        name = todo.pop()
        if name not in result:
            result.add(name)
            todo += LAYERS[name]
    return result


def layer_of(name):
    return next((layer for layer in LAYERS if name.startswith(layer + "/")), None)


def room_of(name):
    parts = name.split("/")
    return parts[1] if parts[0] == "kernels" and len(parts) > 2 else None


def check_includes(name, text):
    layer = layer_of(name)
    if layer is None:
        return
    bad = []
    for include in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.M):
        target = layer_of("include/" + include if include.startswith("hugot/") else include)
        if name.startswith("kernels/cpu/simd/") and target is None:
            continue
        if target == "tests" and name.endswith("_test.cc"):
            continue  # the harness
        if target is not None and target not in allowed(layer):
            bad.append(include)
        room, other = room_of(name), room_of(include)
        if room and other and other not in (room, "cpu", "cuda"):
            bad.append(f"{include} (another room)")
        if target is None and not include.endswith((".inc", ".pb.h")) and not (ROOT / include).exists():
            bad.append(f"{include} (not written from the root)")
    check(not bad, f"{name}: may not include {', '.join(bad)}")


def check_text(name, text):
    if name == "tools/check_rules.py":
        return
    lines = text.splitlines()
    if name not in GENERATED and Path(name).suffix in SOURCE_ENDINGS | {".py", ".sh"}:
        check(len(lines) <= MAX_LINES, f"{name}: {len(lines)} lines, at most {MAX_LINES}")
    found = [i + 1 for i, line in enumerate(lines) if UNFINISHED.search(line)]
    check(not found, f"{name}: unfinished work in lines {found}")
    found = [i + 1 for i, line in enumerate(lines) if MACHINE_PATH.search(line)]
    check(not found, f"{name}: a path of one machine in lines {found}")


def check_format(names):
    tool = shutil.which("clang-format-14")
    if tool is None:
        print("note: clang-format-14 is not installed, formatting is not checked")
        return
    for name in names:
        result = subprocess.run([tool, "--dry-run", "-Werror", name], cwd=ROOT, capture_output=True)
        check(result.returncode == 0, f"{name}: not formatted (clang-format-14 -i {name})")


def check_manifest(texts):
    """Every line of op_list.def has its definition in the room that it names, and the other way."""
    lines = re.findall(r"^HUGOT_OP\((\w+), (\w+), (\w+),", texts["kernels/op_list.def"], re.M)
    defined = {}
    for name, text in texts.items():
        match = re.match(r"kernels/(\w+)/[\w.]+\.cc$", name)
        if match and not name.endswith("_test.cc"):
            for function in re.findall(r"\bOpDef ((?:onnx|ms|hugot|ml|preview|training)_\w+)\(", text):
                defined[function] = match.group(1)
    for domain, op, room in lines:
        function = f"{domain}_{op}"
        if function in defined:  # definitions made by macros are checked by the linker
            check(defined.pop(function) == room, f"op_list.def: {function} is not in room {room}")
        else:
            check(any(re.search(rf"\b{op}\b", text) for name, text in texts.items()
                      if name.startswith(f"kernels/{room}/")),
                  f"op_list.def: room {room} does not mention {op}")
    for function, room in defined.items():
        check(False, f"kernels/{room}: {function} is not in op_list.def")
    check(len(set(lines)) == len(lines), "op_list.def: an operator is listed twice")


def check_objects(build):
    """A weak symbol of an object compiled for a newer processor could end up in portable code."""
    objects = sorted(Path(build).glob("kernels/cpu/libsimd_*.a.p/*.o"))
    check(bool(objects), f"{build}: no objects of the vector kernels")
    for item in objects:
        symbols = subprocess.run(["nm", "-C", str(item)], capture_output=True, text=True).stdout
        weak = [line.split(maxsplit=2)[2] for line in symbols.splitlines()
                if re.match(r"^[0-9a-f]* +[WVu] ", line)]
        check(not weak, f"{item}: weak symbols {weak[:3]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", action="append", default=[])
    parser.add_argument("--counts", help="file for the counts as JSON")
    options = parser.parse_args()
    names = [name for name in tracked_files()
             if Path(name).suffix in TEXT_ENDINGS or name.endswith("meson.build")]
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in names}
    sources = [name for name in names if Path(name).suffix in SOURCE_ENDINGS - {".def"}]
    for name, text in texts.items():
        check_text(name, text)
    for name in sources:
        check_includes(name, texts[name])
    check_format(sources)
    check_manifest(texts)
    for build in options.build:
        check_objects(build)
    for failure in failures:
        print("FAIL", failure)
    print(f"{passed} passed, {len(failures)} failed")
    if options.counts:
        Path(options.counts).write_text(json.dumps({"passed": passed, "failed": len(failures)}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
