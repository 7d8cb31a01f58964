"""The script of jepa's paper, by its old name."""

from weft.adapters import moved

main = moved("jepa_train")
if __name__ == "__main__":
    raise SystemExit(main())
