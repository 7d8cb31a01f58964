"""What authors of families test with: `from weft.testing.contract import CHECKS, contract`."""
