"""The study `probes`, by its old name."""

from weft.adapters import moved

main = moved("jepa_probes")
if __name__ == "__main__":
    raise SystemExit(main())
