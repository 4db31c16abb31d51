#!/usr/bin/env python3
"""Makes a test collection, in BEIR format, of each of some sources of pairs: 300 queries and 1,000 passages, theirs among them.

  held-out-sources.py PAIRS_FOLDER OUT_FOLDER NAME...
"""
import gzip
import json
import os
import random
import shutil
import sys

pairs, out_folder, *names = sys.argv[1:]
for name in names:
    folder = f"{out_folder}/{name}"
    if os.path.exists(folder):
        continue
    with gzip.open(f"{pairs}/{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        examples = [json.loads(line) for line in lines]
    random.Random(7).shuffle(examples)
    passages, judged, queries = {}, [], []
    for example in examples:
        if len(passages) >= 1000:
            break
        ids = [passages.setdefault(text, len(passages)) for text in example["pos"]]
        if len(queries) < 300:
            judged += [(len(queries), i) for i in set(ids)]
            queries.append(example["query"])
    part = f"{folder}.part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(f"{part}/qrels")
    with open(f"{part}/corpus.jsonl", "w", encoding="utf-8") as out:
        for text, i in passages.items():
            print(json.dumps({"_id": f"p{i}", "title": "", "text": text}), file=out)
    with open(f"{part}/queries.jsonl", "w", encoding="utf-8") as out:
        for i, text in enumerate(queries):
            print(json.dumps({"_id": f"q{i}", "text": text}), file=out)
    with open(f"{part}/qrels/test.tsv", "w", encoding="utf-8") as out:
        print("query-id\tcorpus-id\tscore", file=out)
        for query, passage in judged:
            print(f"q{query}\tp{passage}\t1", file=out)
    os.rename(part, folder)
