"""One file a question of evaluate.py."""
