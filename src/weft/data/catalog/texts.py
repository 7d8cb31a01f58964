"""The texts weft knows by name, and the rank file of GPT-2's tokenizer."""

from __future__ import annotations

from weft.data.catalog.entry import DataSet, File, Form

_PRIMER = File(
    "primer.txt",
    54_572,
    "da4e3fce9f5c39690e030e611a8ae639f3edd77dccff677b80ec0f46e82ed001",
    packaged=True,
)
_GSM8K = "https://raw.githubusercontent.com/openai/grade-school-math/master/grade_school_math/data/"
_WIKITEXT = (
    "https://raw.githubusercontent.com/pytorch/examples/main/word_language_model/data/wikitext-2/"
)

_GSM8K_TEST = File(
    "gsm8k/test.jsonl",
    749_738,
    "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
    (_GSM8K + "test.jsonl",),
)
_WIKITEXT_VAL = File(
    "wikitext-2/valid.txt",
    1_121_681,
    "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
    (_WIKITEXT + "valid.txt",),
)
_WIKITEXT_TEST = File(
    "wikitext-2/test.txt",
    1_256_449,
    "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
    (_WIKITEXT + "test.txt",),
)


def _text(
    name: str, title: str, sizes: dict[str, int], forms: tuple[dict[str, File], ...], **facts: str
) -> DataSet:
    """A set of documents; `forms` map a split to its file."""
    return DataSet(
        name=name,
        shape=(),
        classes=(),
        sizes=sizes,
        class_counts=(),
        forms=tuple(
            Form(title, "text", {split: (file,) for split, file in form.items()}) for form in forms
        ),
        kind="text",
        licence=facts["licence"],
        citation=facts["citation"],
    )


TEXTS: tuple[DataSet, ...] = (
    _text(
        "text",
        "prose and arithmetic",
        {"train": 186},
        ({"train": _PRIMER},),
        licence="Apache-2.0",
        citation="The weft developers, 2026.",
    ),
    _text(
        "gsm8k",
        "GSM8K",
        {"train": 7_473, "test": 1_319},
        (
            {
                "train": File(
                    "gsm8k/train.jsonl",
                    4_166_206,
                    "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
                    (_GSM8K + "train.jsonl",),
                ),
                "test": _GSM8K_TEST,
            },
            {
                "train": File(
                    "gsm8k/train.jsonl.gz",
                    1_338_335,
                    "d52a31668743a4f18e4a284514e54eea07a06ae31fcf4293af2506c198c05bda",
                ),
                "test": _GSM8K_TEST,
            },
        ),
        licence="MIT",
        citation="Cobbe et al., Training verifiers to solve math word problems, "
        "arXiv:2110.14168, 2021.",
    ),
    _text(
        # Rare words are <unk> in this edition; the raw one, which the original used, is larger.
        "wikitext-2",
        "WikiText-2, the edition with <unk>",
        {"train": 23_767, "val": 2_461, "test": 2_891},
        (
            {
                "train": File(
                    "wikitext-2/train.txt",
                    10_797_148,
                    "9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f",
                    (_WIKITEXT + "train.txt",),
                ),
                "val": _WIKITEXT_VAL,
                "test": _WIKITEXT_TEST,
            },
            {
                "train": File(
                    "wikitext-2/train.txt.gz",
                    3_677_142,
                    "fc9790d81cb8f08d3cfc5765fc8e67dcf8fe00845c1365914b81da130bbd79ce",
                ),
                "val": _WIKITEXT_VAL,
                "test": _WIKITEXT_TEST,
            },
        ),
        licence="CC BY-SA 3.0 and GFDL",
        citation="Merity et al., Pointer sentinel mixture models, ICLR 2017, arXiv:1609.07843.",
    ),
    DataSet(
        name="gpt2-bpe",
        shape=(),
        classes=(),
        sizes={"ranks": 50_256},
        class_counts=(),
        forms=(
            Form(
                "GPT-2's byte-pair encoding",
                "ranks",
                {
                    "ranks": (
                        File(
                            "gpt2-bpe/gpt2.tiktoken",
                            835_554,
                            "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
                            (
                                "https://raw.githubusercontent.com/openai/whisper/main/whisper/"
                                "assets/gpt2.tiktoken",
                            ),
                        ),
                    )
                },
            ),
        ),
        licence="MIT",
        citation="Radford et al., Language models are unsupervised multitask learners, 2019.",
        kind="text",
    ),
)
