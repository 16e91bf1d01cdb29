"""Examples, readers, label spaces, splits and fingerprints."""

from headwater.data.checks import DataReport, check_examples
from headwater.data.examples import PairExample, ReadResult, RowProblem, TextExample
from headwater.data.fingerprint import fingerprint
from headwater.data.labels import LabelSpace
from headwater.data.readers import read_pairs, read_texts
from headwater.data.rows import Row, stream_rows
from headwater.data.splits import split_grouped, split_stratified

__all__ = [
    "DataReport",
    "LabelSpace",
    "PairExample",
    "ReadResult",
    "Row",
    "RowProblem",
    "TextExample",
    "check_examples",
    "fingerprint",
    "read_pairs",
    "read_texts",
    "split_grouped",
    "split_stratified",
    "stream_rows",
]
