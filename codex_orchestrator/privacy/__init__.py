"""The privacy guard: keeps secrets out of the evidence (docs/reference/privacy.md).

Pure: it reads no clock and no files.
"""
