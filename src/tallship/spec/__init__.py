"""tallship.yaml: what it can say, reading it, and changing one value in it."""

from tallship.spec.edit import edit_spec
from tallship.spec.example import init_text, json_schema
from tallship.spec.load import DEFAULT_FILE, Mistake, Reading, load_spec, parse_spec, read_spec
from tallship.spec.models import Spec
from tallship.spec.names import Names
from tallship.spec.values import LOCATIONS

__all__ = [
    "DEFAULT_FILE",
    "LOCATIONS",
    "Mistake",
    "Names",
    "Reading",
    "Spec",
    "edit_spec",
    "init_text",
    "json_schema",
    "load_spec",
    "parse_spec",
    "read_spec",
]
