"""One module for each outside thing: our verbs in, plain values out, every error translated."""
