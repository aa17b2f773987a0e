"""Train a network for a pair of paintings: the command `duostyle train`."""

from duostyle.cli import run

if __name__ == "__main__":
    run("train")
