"""Runs an exported model through TensorFlow's C API, without TensorFlow's Python, as TensorFlow Serving does.

    python tensorflow_c_api.py LIBTENSORFLOW SAVED_MODEL INPUT OUTPUT DIM IMAGE...

INPUT and OUTPUT are tensors of the graph, as operation:number. Prints the descriptors as one JSON document.
"""

import ctypes
import json
import math
import sys
from pathlib import Path

FLOAT, STRING = 1, 7  # TF_DataType
STRING_SIZE = 24  # of a TF_TString

library, saved_model, fed, fetched, dim, *images = sys.argv[1:]
tf = ctypes.CDLL(library)


class Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


def function(name, result, *arguments):
    declared = getattr(tf, name)
    declared.restype, declared.argtypes = result, arguments
    return declared


pointer, number, text, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t
shape_of = ctypes.POINTER(ctypes.c_int64)
status = function("TF_NewStatus", pointer)()
code, message = function("TF_GetCode", number, pointer), function("TF_Message", text, pointer)
data_of = function("TF_TensorData", pointer, pointer)


def check():
    if code(status):
        sys.exit(message(status).decode())


graph = function("TF_NewGraph", pointer)()
options = function("TF_NewSessionOptions", pointer)()
load = function(
    "TF_LoadSessionFromSavedModel",
    pointer, pointer, pointer, text, ctypes.POINTER(text), number, pointer, pointer, pointer,
)  # fmt: skip
session = load(options, None, saved_model.encode(), (text * 1)(b"serve"), 1, graph, None, status)
check()


def tensor_of_graph(name):
    operation, index = name.split(":")
    found = function("TF_GraphOperationByName", pointer, pointer, text)(graph, operation.encode())
    return Output(found, int(index))


allocate = function("TF_AllocateTensor", pointer, number, shape_of, number, size)
strings = allocate(STRING, (ctypes.c_int64 * 1)(len(images)), 1, STRING_SIZE * len(images))
initialise = function("TF_StringInit", None, pointer)
copy = function("TF_StringCopy", None, pointer, text, size)
for row, image in enumerate(images):
    content = Path(image).read_bytes()
    initialise(data_of(strings) + STRING_SIZE * row)
    copy(data_of(strings) + STRING_SIZE * row, content, len(content))

many, some = ctypes.POINTER(Output), ctypes.POINTER(pointer)
run = function(
    "TF_SessionRun",
    None, pointer, pointer, many, some, number, many, some, number, pointer, number, pointer, pointer,
)  # fmt: skip
results = (pointer * 1)()
inputs, outputs = (Output * 1)(tensor_of_graph(fed)), (Output * 1)(tensor_of_graph(fetched))
run(session, None, inputs, (pointer * 1)(strings), 1, outputs, results, 1, None, 0, None, status)
check()
assert function("TF_TensorType", number, pointer)(results[0]) == FLOAT
shape = [function("TF_Dim", ctypes.c_int64, pointer, number)(results[0], axis) for axis in range(2)]
assert shape == [len(images), int(dim)]
values = (ctypes.c_float * math.prod(shape)).from_address(data_of(results[0]))
print(json.dumps([list(values[row * shape[1] : (row + 1) * shape[1]]) for row in range(shape[0])]))
