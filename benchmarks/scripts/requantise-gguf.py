#!/usr/bin/env python3
"""Writes a GGUF file anew with its matrices in another type: for llama.cpp to compute in it.

    requantise-gguf.py FILE.gguf F32|F16|BF16|Q8_0|Q4_0 OUT.gguf
"""
import sys

import gguf
from gguf import quants


def main(source, name, target):
    reader = gguf.GGUFReader(source)
    wanted = gguf.GGMLQuantizationType[name]
    fields = dict(reader.fields)
    architecture = fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture)
    for key, field in fields.items():
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        item = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), kind, item)
    for tensor in reader.tensors:
        values = quants.dequantize(tensor.data, tensor.tensor_type)
        kept = gguf.GGMLQuantizationType.F32 if values.ndim == 1 else wanted
        writer.add_tensor(tensor.name, quants.quantize(values, kept), raw_dtype=kept)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
