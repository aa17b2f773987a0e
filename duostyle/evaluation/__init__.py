"""Evaluation of trained pairs: one module for each question of `duostyle evaluate`."""
