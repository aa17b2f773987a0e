"""Write a pair as an ONNX model: the command `duostyle export`."""

from duostyle.cli import run

if __name__ == "__main__":
    run("export")
