"""Proof that behaviour stays: `python -m tests.proof run FOLDER HASHES.json`, before a change and after it.

A tiny chain goes through every command: world, SFT, two reward models and their held-out twins, references, alignment
by RLOO and by PPO, evaluation, report, score, best-of-k, preview, generate, a sweep of two trials, a kill and a resume.
`python -m tests.proof compare OLD NEW [--renamed MAP.json]` names every piece of content that differs. Only commands
are used, so the script runs on old versions as they are. Four minutes on 2 cores.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.proof.hashes import folder_hashes

HERE = Path(__file__).parent
PROMPTS = ["how do i fix the kettle?", "what is a good way to clean a jacket?"]
ANSWERS = ["i can not help with that.", "first check the plug. then look at the fuse.", "you should ask somebody."]
SWEEP = """
name: sweep
run: {run}
output_dir: {runs}
overrides: {{base: {runs}/rloo, name: swept, output_dir: {runs}}}
space:
  kl.coefficient: {{kind: values, values: [0.3, 1.0]}}
max_concurrent: 1
kl_budget: 2.0
"""


def run(folder: Path) -> None:
    """Everything, in a fresh folder."""
    runs, source = folder / "runs", str(HERE / "proof.yaml")
    out = f"output_dir={runs}"
    allgood("chain", source, out)
    on_base = [out, f"base={runs}/rloo"]
    allgood("align", source, "name=ppo", "align.algorithm.kind=ppo", *on_base)
    allgood("evaluate", str(runs / "ppo"))
    kill_and_resume(runs / "killed", [source, "name=killed", *on_base])
    answers = folder / "answers.jsonl"
    rows = [{"prompt": prompt, "responses": ANSWERS} for prompt in PROMPTS]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    scored = ["--input", str(answers), "--output", str(runs / "scored.parquet"), "--references", "answers"]
    allgood("score", str(runs / "rloo"), *scored)
    allgood("best-of-k", str(runs / "rloo"))
    allgood("best-of-k", str(runs / "rloo"), "--candidates", str(answers), "--output", str(runs / "best_of_file"))
    allgood("preview", str(runs / "rloo"))
    shown = allgood("generate", str(runs / "rloo"), *(word for text in PROMPTS for word in ("--prompt", text)))
    (runs / "generate.json").write_text(json.dumps({"shown": shown}), encoding="utf-8")
    (folder / "sweep.yaml").write_text(SWEEP.format(run=source, runs=runs), encoding="utf-8")
    allgood("sweep", str(folder / "sweep.yaml"))


def allgood(*words: str) -> str:
    """Run a command to its end; returns what it printed."""
    started = time.monotonic()
    command = [sys.executable, "-m", "allgood", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(f"{words[0]:12} {time.monotonic() - started:5.0f} s", flush=True)
    if done.returncode:
        raise SystemExit(f"allgood {' '.join(words)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def kill_and_resume(run_folder: Path, words: list[str]) -> None:
    """kill -9 of an alignment after its third step, then resume."""
    command = [sys.executable, "-m", "allgood", "align", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    metrics = run_folder / "metrics.jsonl"
    while process.poll() is None and (not metrics.exists() or metrics.read_bytes().count(b"\n") < 3):
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    print(f"killed after {metrics.read_bytes().count(10)} steps")
    allgood("resume", str(run_folder))


def compare(old: dict[str, str], new: dict[str, str], renamed: dict[str, str]) -> list[str]:
    """One line per piece that is missing, new or different; `renamed` maps old names to new ones."""
    mapped = {renamed.get(name, name): digest for name, digest in old.items()}
    lines = [f"missing    {name}" for name in mapped if name not in new]
    lines += [f"new        {name}" for name in new if name not in mapped]
    return lines + [f"different  {name}" for name in mapped if name in new and new[name] != mapped[name]]


def main(words: list[str]) -> int:
    """`run FOLDER HASHES` or `compare OLD NEW [--renamed MAP]`."""
    if words[:1] == ["run"]:
        folder, output = Path(words[1]).absolute(), Path(words[2])
        if not folder.exists():  # a folder that is there is hashed again
            folder.mkdir(parents=True)
            run(folder)
        output.write_text(json.dumps(folder_hashes(folder / "runs"), indent=1) + "\n", encoding="utf-8")
        return 0
    old, new = (json.loads(Path(word).read_text(encoding="utf-8")) for word in words[1:3])
    renamed = json.loads(Path(words[4]).read_text(encoding="utf-8")) if "--renamed" in words else {}
    lines = compare(old, new, renamed)
    print("\n".join([*lines, f"{len(new)} pieces, {len(lines)} differences"]))
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
