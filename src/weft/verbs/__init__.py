"""Commands of families that need more than a family may import: runs, tables, pages."""
