"""Measurements in a file of JSON that is whole after each of them, and tables of text: what
compare.py and gpu_compare.py share."""
import json
import os


def save(path, everything):
    """Replaces the file in one go, so that an interruption leaves the last one."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump(everything, f, indent=1)
    os.replace(path + ".new", path)


def load(path):
    """What was saved; exits with a line on a file that is none."""
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except (OSError, ValueError) as problem:
        raise SystemExit(f"{path}: no saved measurements: {problem}") from None


def cell_text(row, key, form):
    return form.format(row[key]) if row.get(key) is not None else "-"


def print_table(head, lines, left):
    """Columns of text; the first `left` are aligned to the left, the others to the right."""
    lines = [head, *lines]
    width = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for i, line in enumerate(lines):
        cells = [text.ljust(w) if k < left else text.rjust(w) for k, (text, w) in
                 enumerate(zip(line, width))]
        print("| " + " | ".join(cells) + " |")
        if i == 0:
            print("|" + "|".join("-" * (w + 2) if k < left else "-" * (w + 1) + ":"
                                 for k, w in enumerate(width)) + "|")
