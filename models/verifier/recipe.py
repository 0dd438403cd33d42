"""The whole recipe, from groups to weights: `python recipe.py [--out FOLDER]`. Minutes on a GPU, hours without.

Pairs are drawn (prepare.py), the network is trained three times from the base model with other rates and orders
(train.py), the three are averaged (soup.py), packed and calibrated (calibrate.py). What comes out is verifier.bin and
calibration.json with the verifier's own bars; the bars behind the guard need a build of the gateway (bars.py).
"""

import argparse
import os
import subprocess
import sys

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
RUNS = [("1", "1.5e-4"), ("2", "2e-4"), ("3", "3e-4")]  # seed, rate


def command(script, *args):
    return [sys.executable, os.path.join(HERE, script), *args]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", default="run")
    ap.add_argument("--epochs", default="10", help="drawings of pairs, each trained on once")
    ap.add_argument("--seconds", default="0", help="end each training after about this long, its rate decayed to match")
    ap.add_argument("--probe", nargs="*", default=[], help="JSON lines of a, b, label to report on; they decide nothing")
    ap.add_argument("--no-calibrate", action="store_true", help="stop at the checkpoint")
    o = ap.parse_args()
    pairs = os.path.join(o.out, "pairs")
    subprocess.run(command("prepare.py", "--out", pairs, "--epochs", o.epochs), check=True)
    trainings, outs = [], []
    for seed, rate in RUNS:
        out = os.path.join(o.out, f"seed-{seed}")
        more = ["--seconds", o.seconds, "--seed", seed, "--rate", rate, "--batch", "512" if torch.cuda.is_available() else "64"]
        trainings.append(subprocess.Popen(command("train.py", "--pairs", pairs, "--out", out, *more)))
        outs.append(os.path.join(out, "mean.pt"))
        if not torch.cuda.is_available():  # a GPU has room for all three at once
            trainings[-1].wait()
    if any(t.wait() for t in trainings):
        sys.exit("a training failed")
    mean = os.path.join(o.out, "mean.pt")
    subprocess.run(command("soup.py", "--pairs", pairs, "--out", mean, "--probe", *o.probe, "--", *outs), check=True)
    if not o.no_calibrate:
        subprocess.run(command("calibrate.py", mean, "--pairs", pairs), check=True)


if __name__ == "__main__":
    main()
