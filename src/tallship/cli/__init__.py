"""The command line: parsing only. Each noun has a file, imported when its command runs."""
