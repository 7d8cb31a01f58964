"""The series weft knows by name: UEA/UCR classification sets and transformer temperatures."""

from __future__ import annotations

from collections.abc import Mapping

from weft.data.catalog.entry import DataSet, File, Form

_AEON = "https://raw.githubusercontent.com/aeon-toolkit/aeon/v1.0.0/aeon/datasets/data/"
_ETT = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/"


def _archived(
    name: str,
    shape: tuple[int, int],
    classes: tuple[str, ...],
    sizes: tuple[int, int],
    class_counts: tuple[int, ...],
    files: Mapping[str, tuple[int, str]],
    *,
    ragged: bool = False,
) -> DataSet:
    """A set in two `.ts` files; `files` maps TRAIN and TEST to (bytes, SHA-256)."""

    def file(part: str) -> File:
        path = f"{name}/{name}_{part}.ts"
        return File(f"ts/{path}", *files[part], urls=(_AEON + path,))

    return DataSet(
        name=name,
        shape=shape,
        classes=classes,
        sizes=dict(zip(("train", "test"), sizes, strict=True)),
        class_counts=class_counts,
        forms=(Form(name, "ts", {"train": (file("TRAIN"),), "test": (file("TEST"),)}),),
        licence="none stated; archive for research use",
        citation="Bagnall et al., The UEA multivariate time series classification archive, "
        "arXiv:1811.00075, 2018; Dau et al., The UCR time series archive, arXiv:1810.07758, 2018.",
        kind="series",
        ragged=ragged,
    )


def _transformer(
    name: str, rows: tuple[int, int, int, int], plain: tuple[int, str], zipped: tuple[int, str]
) -> DataSet:
    """One csv file of all splits; `rows` are those of the file, then of its splits in order."""
    total, *parts = rows
    sizes = dict(zip(("train", "val", "test"), parts, strict=True))
    forms = (
        File(f"ett/{name}.csv", *plain, urls=(f"{_ETT}{name}.csv",)),
        File(f"ett/{name}.csv.gz", *zipped),
    )
    return DataSet(
        name=name,
        shape=(total, 7),
        classes=(),
        sizes=sizes,
        class_counts=(),
        forms=tuple(Form(name, "ett-csv", {split: (file,) for split in sizes}) for file in forms),
        licence="CC BY-ND 4.0",
        citation="Zhou et al., Informer: beyond efficient transformer for long sequence "
        "time-series forecasting, AAAI 2021.",
        kind="series",
    )


_SCP1 = File(
    "ts/SelfRegulationSCP1/SelfRegulationSCP1.npz",
    1_245_491,
    "334b47f40bc7df5f18c4d925c170156a7bf8aeb0563b30f0adbab39726735ac1",
)

SERIES: tuple[DataSet, ...] = (
    _archived(
        "ArrowHead",
        (251, 1),
        ("0", "1", "2"),
        (36, 175),
        (12, 12, 12),
        {
            "TRAIN": (
                100_357,
                "a83c470aaf611a5f5284377cce27a5fc9f6292bc3d110257b0fd4905ced5ee72",
            ),
            "TEST": (484_894, "5417dab42626d41df5e435bb22458c2df40dfad4bcd3b59559bbe72e20e84904"),
        },
    ),
    _archived(
        "BasicMotions",
        (100, 6),
        ("Standing", "Running", "Walking", "Badminton"),
        (40, 40),
        (10, 10, 10, 10),
        {
            "TRAIN": (
                227_790,
                "8dc43cc6306cb679c888c01e26f91772ac4441a916da43bac8b79734a538b9d6",
            ),
            "TEST": (227_713, "79213102bc6fca1a398ad98ce1185dff0208fa3d1465e687f48288946b0ff8dc"),
        },
    ),
    _archived(
        "GunPoint",
        (150, 1),
        ("1", "2"),
        (50, 150),
        (24, 26),
        {
            "TRAIN": (84_188, "f842401779fd9800d247d8b33121a1a4643710a19b24917dbdd9a060ca8630d5"),
            "TEST": (252_305, "79332750788a6227b325b96bd0d70130c8eb707b9731f8d7dec62b7a7d36017e"),
        },
    ),
    _archived(
        "ItalyPowerDemand",
        (24, 1),
        ("1", "2"),
        (67, 1_029),
        (34, 33),
        {
            "TRAIN": (18_300, "341269cb7e6cef96846b30e774580beec79addb93848ba360145219115a74b7c"),
            "TEST": (274_054, "26122451f87dd0387ef90b18bc8a86c041371b8a1c068004922b939971247144"),
        },
    ),
    _archived(
        "JapaneseVowels",
        (29, 12),
        tuple("123456789"),
        (270, 370),
        (30,) * 9,
        {
            "TRAIN": (
                487_971,
                "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd",
            ),
            "TEST": (649_132, "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462"),
        },
        ragged=True,
    ),
    DataSet(
        # Made from the archive's ARFF files for weft's own tests: no mirror has this npz file.
        name="SelfRegulationSCP1",
        shape=(896, 6),
        classes=("negativity", "positivity"),
        sizes={"train": 268, "test": 293},
        class_counts=(135, 133),
        forms=(
            Form(
                "SelfRegulationSCP1", "scp1-npz", {split: (_SCP1,) for split in ("train", "test")}
            ),
        ),
        licence="none stated; archive for research use",
        citation="Birbaumer et al., A spelling device for the paralysed, Nature 398, 1999; "
        "Bagnall et al., arXiv:1811.00075, 2018.",
        kind="series",
    ),
    _transformer(
        "ETTh1",
        (17_420, 8_640, 2_880, 2_880),
        (2_589_657, "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"),
        (405_601, "f1141f82f9d46968f05afa77ba16abfc4f790fe07583f9de06bb685b29a5411f"),
    ),
    _transformer(
        "ETTh2",
        (17_420, 8_640, 2_880, 2_880),
        (2_417_960, "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b"),
        (428_678, "41040ff6a385d9208bd0b6ca58c062859e92c380d1778d93e11dd093768b579a"),
    ),
    _transformer(
        "ETTm1",
        (69_680, 34_560, 11_520, 11_520),
        (10_360_719, "6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e"),
        (1_567_418, "05b083c9817b620c9b8771d26ca4a9f70eec0fb32e7a4d5c8f4553e20aaf2e33"),
    ),
)
