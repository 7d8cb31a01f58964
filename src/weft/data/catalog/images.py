"""The images weft knows by name: digits, MNIST, Fashion-MNIST and CIFAR-10."""

from __future__ import annotations

from collections.abc import Mapping

from weft.data.catalog.entry import DataSet, File, Form


def _idx(
    title: str, folder: str, mirrors: tuple[str, ...], files: Mapping[str, tuple[int, str]]
) -> Form:
    """An IDX set in torchvision's layout; `files` maps prefix-kind to (bytes, SHA-256)."""

    def file(stem: str) -> File:
        size, sha256 = files[stem]
        name = f"{stem}-ubyte.gz"
        return File(f"{folder}/{name}", size, sha256, tuple(base + name for base in mirrors))

    return Form(
        title,
        "idx",
        {
            "train": (file("train-images-idx3"), file("train-labels-idx1")),
            "test": (file("t10k-images-idx3"), file("t10k-labels-idx1")),
        },
    )


_DIGITS = File(
    "digits.npz",
    45_711,
    "e97d18695872adad0cb6702c3ac5fd7d1c5d448b08af3f367c2f840ca817197a",
    packaged=True,
)
_CIFAR10_BINARY = File(
    "cifar10/cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
)
_NUMERALS = tuple("0123456789")

IMAGES = (
    DataSet(
        # The last 360 images in file order are the test set. The file runs writer by writer,
        # so this is harder than a shuffled split (an RBF SVM gets 0.942, shuffled 0.989).
        name="digits",
        shape=(1, 8, 8),
        classes=_NUMERALS,
        sizes={"train": 1_437, "test": 360},
        class_counts=(143, 146, 142, 146, 144, 145, 144, 143, 141, 143),
        forms=(Form("8x8 digits", "npz", {split: (_DIGITS,) for split in ("train", "test")}),),
        licence="CC BY 4.0",
        citation="Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.",
    ),
    DataSet(
        name="mnist",
        shape=(1, 28, 28),
        classes=_NUMERALS,
        sizes={"train": 60_000, "test": 10_000},
        class_counts=(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        forms=(
            _idx(
                "MNIST",
                "mnist/MNIST/raw",
                (
                    "https://ossci-datasets.s3.amazonaws.com/mnist/",
                    "https://storage.googleapis.com/cvdf-datasets/mnist/",
                ),
                {
                    "train-images-idx3": (
                        9_912_422,
                        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                    ),
                    "train-labels-idx1": (
                        28_881,
                        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                    ),
                    "t10k-images-idx3": (
                        1_648_877,
                        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                    ),
                    "t10k-labels-idx1": (
                        4_542,
                        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                    ),
                },
            ),
        ),
        licence="CC BY-SA 3.0 (as commonly stated)",
        citation="LeCun et al., Gradient-based learning applied to document recognition, "
        "Proc. IEEE 86(11), 1998.",
    ),
    DataSet(
        name="fashion-mnist",
        shape=(1, 28, 28),
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        sizes={"train": 60_000, "test": 10_000},
        class_counts=(6000,) * 10,
        forms=(
            _idx(
                "Fashion-MNIST",
                "fashion-mnist/FashionMNIST/raw",
                ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
                {
                    "train-images-idx3": (
                        26_421_880,
                        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                    ),
                    "train-labels-idx1": (
                        29_515,
                        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                    ),
                    "t10k-images-idx3": (
                        4_422_102,
                        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                    ),
                    "t10k-labels-idx1": (
                        5_148,
                        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                    ),
                },
            ),
        ),
        licence="MIT",
        citation="Xiao, Rasul, Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017.",
    ),
    DataSet(
        name="cifar10",
        shape=(3, 32, 32),
        classes=(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
        sizes={"train": 50_000, "test": 10_000},
        class_counts=(5000,) * 10,
        forms=(
            Form(
                "CIFAR-10",
                "cifar-binary",
                {split: (_CIFAR10_BINARY,) for split in ("train", "test")},
                keep_decoded=True,
            ),
            Form(
                # Every picture went through JPEG, so accuracies compare only roughly.
                "CIFAR-10 (JPEG)",
                "cifar-parquet",
                {
                    "train": (
                        File(
                            "cifar10/plain_text/train-00000-of-00001.parquet",
                            15_185_711,
                            "1e294076766a80e93e578b1eab7f0a0d431e0af139bcb23736b02d2eee372c2a",
                        ),
                    ),
                    "test": (
                        File(
                            "cifar10/plain_text/test-00000-of-00001.parquet",
                            3_037_187,
                            "cfd68ad354333073f473b03e8b893270305a3e0b7f15c1dea9f84e590a1e07ac",
                        ),
                    ),
                },
                keep_decoded=True,
            ),
        ),
        licence="none stated; cite the report",
        citation="Krizhevsky, Learning multiple layers of features from tiny images, 2009.",
        refused={
            "cifar-10-python.tar.gz": "it holds pickles, and reading a pickle can run code; "
            "cifar-10-binary.tar.gz has the same pictures without that"
        },
    ),
)
