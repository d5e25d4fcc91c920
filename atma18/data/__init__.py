"""Reading a dataset folder as checked samples, and writing predictions.

`dataset` reads the folder, `frames` its images, `lights` its traffic lights; `folds` makes cross-validation folds;
`predictions` is the table that steps exchange, and `submission` writes it in the competition's format.
"""
