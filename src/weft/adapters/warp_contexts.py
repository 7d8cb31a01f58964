"""The study `contexts`, by its old name."""

from weft.adapters import moved

main = moved("warp_contexts")
if __name__ == "__main__":
    raise SystemExit(main())
