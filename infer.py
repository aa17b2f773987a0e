"""Stylize pictures and videos: the command `duostyle paint`."""

from duostyle.cli import run

if __name__ == "__main__":
    run("paint")
