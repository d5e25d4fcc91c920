"""Bytes that somebody else wrote, checked: plain files, JSON, CSV, PNG, safetensors, memory maps, digests."""
