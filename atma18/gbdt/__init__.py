"""Gradient-boosted trees: XGBoost and CatBoost behind one interface, their training rows, and the model of gbdt."""
