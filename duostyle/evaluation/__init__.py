"""One file a question of duostyle evaluate."""
