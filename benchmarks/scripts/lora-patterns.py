#!/usr/bin/env python3
"""Writes how PEFT reads patterns in an adapter's settings, for LoraPatternsTest of llara-core.

    lora-patterns.py > llara-core/src/test/resources/io/llara/checkpoint/lora-patterns.json

"patterns": which of some keys of rank_pattern or alpha_pattern decides for a module, -1 for none.
"excluded": which modules an exclude_modules leaves without an update.
Needs peft.
"""

import json
from types import SimpleNamespace

import peft
from peft.tuners.tuners_utils import _ExcludedModule, check_target_module_exists
from peft.utils.other import get_pattern_key

MODULES = [
    f"layers.{layer}.{module}"
    for layer in (0, 1, 10)
    for module in ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.down_proj")
]
PATTERNS = [
    ["q_proj"],
    ["^model.layers.0.self_attn.q_proj"],
    ["layers.1.mlp.up_proj", "up_proj"],
    ["proj"],
    [".*_proj"],
    [r"layers\.\d\.self_attn\.(q|v)_proj", "v_proj"],
    ["(mlp|self_attn).*"],
    [r"layers\.(0|10)\..*", "q_proj"],
    ["^layers.0.self_attn.q_proj"],
    ["[qv]_proj$"],
    ["nothing", ".*down.*"],
    ["self_attn"],
]
EXCLUDED = [
    ["q_proj"],
    ["layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"],
    ["mlp"],
    r".*\.layers\.0\..*",
    r"model\.layers\.(1|10)\.mlp\.up_proj",
    "q_proj",
]


def deciding(patterns, module):
    key = get_pattern_key(patterns, "model." + module)
    return patterns.index(key) if key in patterns else -1


def is_excluded(excluded, module):
    settings = SimpleNamespace(exclude_modules=excluded, target_modules=[])
    return isinstance(check_target_module_exists(settings, "model." + module), _ExcludedModule)


print(
    json.dumps(
        {
            "peft": peft.__version__,
            "modules": MODULES,
            "patterns": [
                {"keys": keys, "deciding": [deciding(keys, module) for module in MODULES]}
                for keys in PATTERNS
            ],
            "excluded": [
                {
                    "exclude_modules": value,
                    "modules": [module for module in MODULES if is_excluded(value, module)],
                }
                for value in EXCLUDED
            ],
        },
        indent=1,
    )
)
