"""Evaluation of trained pairs: one module for each evaluation of `duostyle evaluate`."""
