"""Talos machine configuration as Talos' own library treats it: keys, generated documents, patches, validation. Pure."""
