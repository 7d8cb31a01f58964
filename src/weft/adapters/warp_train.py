"""The script of warp's paper, by its old name, which `backup/train.py` of older runs imports."""

from weft.adapters import moved

main = moved("warp_train")
if __name__ == "__main__":
    raise SystemExit(main())
