"""What tests of several areas stand on: a module for each purpose. Fixtures are in the conftest files."""
