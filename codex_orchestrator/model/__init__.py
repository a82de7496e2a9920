"""What things are, as frozen dataclasses: definitions, manifest, events; how they become JSON and back."""
