"""Serving a bundle: `pyfunc_model` is executed by MLflow, `request_rows` parses requests, `guard` limits them."""
