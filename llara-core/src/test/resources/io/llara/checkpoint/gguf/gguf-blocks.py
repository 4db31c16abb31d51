"""Makes gguf-blocks.json: random blocks of every tensor type that is read, and what ggml's own Python package (gguf)
makes of them. Scales and minima are finite; everything else is any bits. Floats are written as their 32 bits.

usage: gguf-blocks.py > gguf-blocks.json      (needs gguf 0.19.0 and numpy)
"""

import json

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

BLOCKS = 4
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q6_K": [208]}

random = np.random.default_rng(20241105)
cases = []
for name in ["F32", "F16", "BF16", *SCALES]:
    kind = GGMLQuantizationType[name]
    elements, size = GGML_QUANT_SIZES[kind]
    if name in SCALES:
        rows = random.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
        for at in SCALES[name]:
            # An ordinary one, a negative one, a subnormal one, and the largest.
            scales = np.array([0.0173, -1.25, 3e-6, 65504], dtype=np.float16)
            rows[:, at : at + 2] = scales.view(np.uint8).reshape(BLOCKS, 2)
        data = rows
    elif name == "BF16":
        bits = random.normal(size=32).astype(np.float32).view(np.uint32) >> 16
        data = bits.astype(np.uint16).view(np.uint8).reshape(1, -1)
    else:
        data = random.normal(size=32).astype(np.float32 if name == "F32" else np.float16).view(np.uint8).reshape(1, -1)
    values = dequantize(data.view(np.float32 if name == "F32" else np.float16 if name == "F16" else np.uint8), kind)
    floats = np.asarray(values, dtype=np.float32).reshape(-1)
    cases.append(
        {
            "type": name,
            "number": int(kind),
            "block": elements,
            "bytes": data.tobytes().hex(),
            "floats": [int(bits) for bits in floats.view(np.int32)],
        }
    )
print("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]")
