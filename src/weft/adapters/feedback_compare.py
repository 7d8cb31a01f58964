"""The study `controls`, by its old name."""

from weft.adapters import moved

main = moved("feedback_compare")
if __name__ == "__main__":
    raise SystemExit(main())
