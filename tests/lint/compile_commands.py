"""Write a compilation database, for clangd and other tools: compile_commands.py OUT FILE... -- COMPILER FLAG..."""
from __future__ import annotations

import json
import os
import sys


def main() -> None:
    out, *words = sys.argv[1:]
    end = words.index("--")
    files, command = words[:end], words[end + 1:]
    entries = [{"directory": os.getcwd(), "file": file, "arguments": [*command, "-c", file]} for file in files]
    with open(out, "w", encoding="utf-8") as stream:
        json.dump(entries, stream, indent=1)
    print(f"{out}: {len(entries)} files")


if __name__ == "__main__":
    main()
