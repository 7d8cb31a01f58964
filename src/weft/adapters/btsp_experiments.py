"""The script of cet's paper, by its old name."""

from weft.adapters import moved

main = moved("btsp_experiments")
if __name__ == "__main__":
    raise SystemExit(main())
