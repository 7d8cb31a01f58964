"""The photographs weft knows by name, whole and without labels: Kodak's and those of BSDS."""

from __future__ import annotations

from weft.data.catalog.entry import DataSet, File, Form

# Smaller PNG files than those on Franzen's page, of the same pixels: no mirror has them.
_KODAK = tuple(
    File(f"kodak/kodim{number:02d}.png", *facts)
    for number, facts in enumerate(
        (
            (694_969, "6b4fbe6f3e8e0e20150d5b0c32248bf072e22b5989d415f96f796c5b7004a70f"),
            (596_342, "1788370471429d992750a09caf6702ac74e56962447de02520d4b161738c0369"),
            (480_296, "b9c800ee568f0b18c983817df08d9f7f24a7ddb3abfdc31bde9234c4fde83137"),
            (619_524, "0c60c62599ad33fd78b29c36013fbe4120946f6c327c0ef0ec6983297fb48d23"),
            (756_263, "ccf694ceb6bbf431e0009ed0d5573a8ff0915095b69ddfb527b91d8325897f5e"),
            (599_778, "f4212cc927d1d579c712843cf8320c7eccb571e5ea80456022ffe99d67e9cd5d"),
            (553_939, "7cdd6d63ae0a245f6f9d983d740e11c6808c2efc24f8351aad9b5f676c27b55a"),
            (741_753, "5a6a089bdb47605287c00d89ebf2a5312981eb998c94b5853d917c93a9066cdb"),
            (558_418, "4d8d801592aeaf446978bbd1c83b76c498242d0f684769311a4e7248289500bf"),
            (567_106, "7aca487dc83db732a5690b7affe8558e9dadf5bb44a4589ba2b607480a07228b"),
            (597_671, "c7c02bd6e942d1181518e3ce2d97cf0451e4494a5e9d6ddee276940e4875d746"),
            (507_077, "df571f5e66d1aefd764ea77855e81e3be61528c34962a0fd1d50557502162c1e"),
            (802_288, "797949ce1152ef157ff0a1231c95cb8ed7641615e0b0f5f77f851a44aee19e8d"),
            (664_858, "08a1898d5702f32e7d9f94a94651d74a62cb9325475775a558b388c8d98f1846"),
            (593_678, "416c475f39b0eb9203ce7f77d2af8824f5bffc1a86a4605865017f04c41639b9"),
            (517_978, "5d03303693decdf7a1e1e930b5ca6684283aa80a9e7d8d6a842a74fa5f790640"),
            (595_749, "19d90e98e5835efae20a6e17e22e5ac6814ee2c8efb32d188ea4359abaf9f5bd"),
            (753_479, "83df267dfec61e9b9d3756c422502160b2fab595650c73a8b12940540ad09ec5"),
            (635_490, "86560efe85a13413b228ef7e42dde0d439b25a94fb8e2d6fb1dc1631cf48853b"),
            (474_056, "1ae187d92b3a4483b6717f7fd08592846ffdfc340c6424f6756627a27f3d8ea7"),
            (608_507, "26e193795108c4b5ec47206ae4ff07a353d2492947f7a7ae8d380e042b74027b"),
            (690_081, "627b76fccf714b4ddffb739b2eb63ba2817cf5b5a8e222079542dcf2cfdda939"),
            (548_799, "85c67d7ea758cb0604fb6980ab0c65091a2eefa7b3b50cbb1bc702a60206dfe5"),
            (676_380, "9f1c26df52217bd49f998a720a2ffeba41a535cf826f4ae32e355fb2b0bbc0fe"),
        ),
        start=1,
    )
)  # fmt: skip

PICTURES: tuple[DataSet, ...] = (
    DataSet(
        name="kodak",
        shape=(),
        classes=(),
        sizes={"test": 24},
        class_counts=(),
        forms=(Form("Kodak", "pictures", {"test": _KODAK}),),
        licence="released for unrestricted use",
        citation="Franzen, Kodak lossless true color image suite, r0k.us/graphics/kodak.",
        kind="pictures",
    ),
    DataSet(
        # The central 321 x 321 of each, reduced: not for BSDS's own scores.
        name="bsds500-256",
        shape=(3, 256, 256),
        classes=(),
        sizes={"train": 200, "val": 100},
        class_counts=(),
        forms=(
            Form(
                "BSDS500, 256 x 256",
                "picture-tar",
                {
                    "train": (
                        File(
                            "bsds500-256/train.tar",
                            4_515_840,
                            "508c59d6c6b12ec8930b1c9ec2a7fe060e599b141f43b5faf05357a1c096eca6",
                        ),
                    ),
                    "val": (
                        File(
                            "bsds500-256/val.tar",
                            2_365_440,
                            "ed887ffeaf2727ef7cea7593c51206dccd05c600038103dd2bf605032d543bd1",
                        ),
                    ),
                },
            ),
        ),
        licence="non-commercial research and education only",
        citation="Arbelaez, Maire, Fowlkes, Malik, Contour detection and hierarchical image "
        "segmentation, IEEE TPAMI 33(5), 2011.",
        kind="pictures",
    ),
)
