"""The steps as functions: an entry point calls one of them, and `all_steps` runs six in one process.

`blend`, `embed`, `gbdt` and `nets` prepare a `step`, and `fitted` any step that needs nothing but training samples;
`compare` and `promote` are commands on finished runs.
"""
