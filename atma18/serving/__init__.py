"""The service around a bundle, and the file that MLflow executes when it loads one."""
