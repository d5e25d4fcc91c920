"""Serving a bundle: `pyfunc_model` is executed by MLflow, `request_rows` parses requests, `guard` limits them.

The service of our own is `app`: `bodies` and `arrow` read and write, `batching` lets requests share a pass of a version
(`answering`), `follow` replaces that version after its `rehearsal`, and `watching` measures and logs.
"""
