"""Measure a pair: the command `duostyle evaluate`."""

from duostyle.cli import run

if __name__ == "__main__":
    run("evaluate")
