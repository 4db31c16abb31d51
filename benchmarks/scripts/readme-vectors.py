"""Runs the lines of Python in a model's README.md and prints the vectors they give.

usage: readme-vectors.py MODEL_DIR TEXT...

One JSON object: for each text its vector as a query and as a passage. Needs torch and transformers.
"""

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"


def main(directory, texts):
    os.chdir(directory)
    with open("README.md") as file:
        code = file.read().split("```python\n")[1].split("```")[0]
    names = {}
    exec(code, names)
    vectors = [{"text": text, **{kind: names["embed"](text, kind).tolist() for kind in ("query", "passage")}} for text in texts]
    print("[\n" + ",\n".join(json.dumps(vector) for vector in vectors) + "\n]")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
