"""CAN logs with a DBC, a video, and a TOML file that says which signal is which."""

from atma18.recordings.can.reading import CanDrive, find, read

__all__ = ["CanDrive", "find", "read"]
