"""The scripts of feedback's paper, by their old name, which copies of them in older runs import."""

import sys

from weft.adapters import moved

main = moved("feedback_train")
if __name__ == "__main__":
    raise SystemExit(main("".join(sys.argv[1:2]), sys.argv[2:]))
