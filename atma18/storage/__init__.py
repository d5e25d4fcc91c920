"""Checked reading of untrusted files (plain files, JSON, CSV, PNG, safetensors), memory maps and digests."""
