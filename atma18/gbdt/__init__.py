"""Boosters behind one face, the table that they read, and what gbdt predicts with."""
