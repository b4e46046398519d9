"""What an ONNX file would make the runtime do, read from its bytes before anything runs it.

The protobuf wire format is walked directly (field numbers: onnx.proto3 of ONNX 1.21), so that a
server needs no `onnx` package. Nothing is decoded but names; weights are stepped over.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from components.errors import IntegrityError

DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})

_ARITHMETIC = """
Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Clip Concat Constant
ConstantOfShape Conv ConvTranspose Cos CumSum DepthToSpace Div Einsum Elu Equal Erf Exp Expand
Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater
GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization IsInf IsNaN
LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization MatMul Max
MaxPool Mean Min Mish Mod Mul Neg NonZero Not Or PRelu Pad Pow RNN Range Reciprocal ReduceL1
ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu
Reshape Resize Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax
Softplus SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh Tile TopK Transpose Trilu Unsqueeze Where
Xor
"""

_INTEGERS = """
DequantizeLinear DynamicQuantizeLinear QuantizeLinear ConvInteger MatMulInteger QLinearConv
QLinearMatMul DynamicQuantizeLSTM DynamicQuantizeMatMul FusedMatMul MatMulIntegerToFloat QGemm
QLinearAdd QLinearConcat QLinearGlobalAveragePool QLinearMul SkipLayerNormalization
"""

OPERATORS = frozenset(_ARITHMETIC.split()) | frozenset(_INTEGERS.split())
"""Arithmetic on arrays. Not here: `Loop`, `If` and `Scan`, which can run for ever or hide a graph;
operators that draw random numbers, read files or decode formats."""


@dataclass(frozen=True)
class Contents:
    """Everything in a model file that is worth a refusal."""

    domains: frozenset[str]
    operators: frozenset[str]
    external_data: bool
    subgraphs: bool
    """A graph inside a node, a local function or a training graph."""


def check(model: bytes, name: str) -> Contents:
    """The contents of a model that computes on arrays and does nothing else.

    Raises:
        IntegrityError: the file is no ONNX model, names other files, or holds what is not allowed.
    """
    remedy = "use a model that this project exported, or restore the file from its registry"
    contents = inspect(model, name)
    if contents.external_data:
        raise IntegrityError(f"{name} keeps weights in other files of the disk", remedy)
    if strange := sorted(contents.domains - DOMAINS):
        raise IntegrityError(f"{name} uses operators of {', '.join(strange)}", remedy)
    if strange := sorted(contents.operators - OPERATORS):
        raise IntegrityError(
            f"{name} uses {', '.join(strange)}, not among the allowed operators",
            f"{remedy}; an operator that only computes on arrays may be added to OPERATORS in "
            "components/inference/inspection.py",
        )
    if contents.subgraphs:
        raise IntegrityError(f"{name} hides a graph inside a node or a function", remedy)
    return contents


def inspect(model: bytes, name: str) -> Contents:
    """What the file holds, allowed or not.

    Raises:
        IntegrityError: the bytes are no ONNX model.
    """
    walk = _Walk()
    try:
        walk.model(memoryview(model))
    except (IndexError, ValueError) as error:
        raise IntegrityError(f"{name} is not an ONNX model ({error})") from error
    if not walk.operators:
        raise IntegrityError(f"{name} is not an ONNX model (no node in it)")
    return Contents(
        domains=frozenset(walk.domains),
        operators=frozenset(walk.operators),
        external_data=walk.external_data,
        subgraphs=walk.subgraphs,
    )


class _Walk:
    """One pass over a ModelProto; a field that comes twice counts twice, as protobuf merges it."""

    def __init__(self) -> None:
        self.domains: set[str] = set()
        self.operators: set[str] = set()
        self.external_data = False
        self.subgraphs = False

    def model(self, data: memoryview) -> None:
        for field, value in _messages(data):
            if field == 7:
                self.graph(value)
            elif field == 8:  # opset_import
                self.domains.update(_texts(value, 1))
            elif field in (20, 25):  # training_info, functions
                self.subgraphs = True

    def graph(self, data: memoryview) -> None:
        for field, value in _messages(data):
            if field == 1:
                self.node(value)
            elif field == 5:
                self.tensor(value)
            elif field == 15:
                self.sparse(value)

    def node(self, data: memoryview) -> None:
        self.operators.update(_texts(data, 4))
        self.domains.update(_texts(data, 7))
        for field, value in _messages(data):
            if field == 5:
                self.attribute(value)

    def attribute(self, data: memoryview) -> None:
        for field, value in _messages(data):
            if field in (5, 10):
                self.tensor(value)
            elif field in (22, 23):
                self.sparse(value)
            elif field in (6, 11):
                self.subgraphs = True

    def sparse(self, data: memoryview) -> None:
        for field, value in _messages(data):
            if field in (1, 2):
                self.tensor(value)

    def tensor(self, data: memoryview) -> None:
        for field, value in _fields(data):
            self.external_data |= field == 13 or (field == 14 and value == 1)


def _texts(data: memoryview, wanted: int) -> list[str]:
    return [bytes(value).decode() for field, value in _messages(data) if field == wanted]


def _messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields: messages, texts and packed numbers."""
    for field, value in _fields(data):
        if isinstance(value, memoryview):
            yield field, value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        match key & 7:
            case 0:  # varint
                value, at = _varint(data, at)
                yield key >> 3, value
                continue
            case 1:  # eight bytes
                size = 8
            case 2:  # length-delimited
                size, at = _varint(data, at)
            case 5:  # four bytes
                size = 4
            case kind:
                raise ValueError(f"wire type {kind} at byte {at}")
        if at + size > len(data):
            raise ValueError("it ends in the middle of a field")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"a number of more than ten bytes at byte {at}")
