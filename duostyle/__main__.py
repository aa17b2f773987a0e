"""Run `python -m duostyle`."""

from duostyle.cli import main

if __name__ == "__main__":
    main()
