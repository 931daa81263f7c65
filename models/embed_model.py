#!/usr/bin/env python3
"""Writes a C++ file that defines hugot::embedded_model() with the files of a model directory.

    embed_model.py DIR OUTPUT.cc DEPENDENCIES
"""
import sys
from pathlib import Path


def main():
    root, output, dependencies = map(Path, sys.argv[1:])
    root = root.resolve()
    files = sorted(file for file in root.rglob("*") if file.is_file())
    if not files:
        sys.exit(f"embed_model.py: no files below {root}")
    source = ['// Written by models/embed_model.py.', '#include "models/embedded_model.h"', ""]
    for i, file in enumerate(files):
        source += [f'asm(".pushsection .rodata\\n.balign 64\\nhugot_embedded_{i}:\\n"',
                   f'    ".incbin \\"{file}\\"\\nhugot_embedded_{i}_end:\\n.popsection\\n");',
                   f'extern "C" const char hugot_embedded_{i}[], hugot_embedded_{i}_end[];']
    source += ["", "namespace hugot {", "", "std::span<const EmbeddedFile> embedded_model() {",
               "  static const EmbeddedFile files[] = {"]
    source += [f'      {{"{file.relative_to(root).as_posix()}", {{hugot_embedded_{i}, '
               f"static_cast<size_t>(hugot_embedded_{i}_end - hugot_embedded_{i})}}}},"
               for i, file in enumerate(files)]
    source += ["  };", "  return files;", "}", "", "}  // namespace hugot", ""]
    output.write_text("\n".join(source), encoding="utf-8")
    dependencies.write_text(f"{output}: {' '.join(map(str, files))}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
