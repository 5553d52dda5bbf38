"""The Talos machine API (v1.12, LifecycleService v1.13): messages and stubs made from our own .proto by `make proto`.

Only what is called or served here is described. Names and numbers are those of Talos, so that the bytes are the same.
"""
