"""Losses of distillation by their definitions, in float64 (numpy): the numbers in DistillationLossTest.

Prints, for embeddings that are sines: InfoNCE, the divergences from a teacher's similarities and from its scores,
1 - cosine through a projection, and what FlagEmbedding's distill_loss("kl_div") gives for the scores, which has the
entropy of the teacher's distribution in it.
"""
import numpy as np

QUERIES, GROUP, HIDDEN, TEACHER = 3, 2, 4, 3
TEMPERATURE, TEACHER_TEMPERATURE = 0.1, 0.05


def sines(rows, columns, phase):
    return np.sin(phase + 0.7 * np.arange(rows * columns)).reshape(rows, columns)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def divergence(teacher, student):
    wanted, logs = log_softmax(teacher), log_softmax(student)
    return (np.exp(wanted) * (wanted - logs)).sum(axis=1).mean()


def losses(prefix):
    q, p = sines(QUERIES, HIDDEN, 1), sines(QUERIES * GROUP, HIDDEN, 2)
    tq, tp = unit(sines(QUERIES, TEACHER, 3)), unit(sines(QUERIES * GROUP, TEACHER, 4))
    scores = 3 * sines(QUERIES, GROUP, 5)
    student = unit(q[:, :prefix]) @ unit(p[:, :prefix]).T / TEMPERATURE
    places = np.arange(QUERIES) * GROUP
    own = np.stack([student[np.arange(QUERIES), places + i] for i in range(GROUP)], axis=1)
    projection = np.eye(TEACHER, HIDDEN)
    texts, taught = np.concatenate([q, p]), np.concatenate([tq, tp])
    return {
        "infonce": -log_softmax(student)[np.arange(QUERIES), places].mean(),
        "similarity": divergence(tq @ tp.T / TEACHER_TEMPERATURE, student),
        "score": divergence(scores, own),
        "cosine": (1 - (unit(texts @ projection.T) * taught).sum(axis=1)).mean(),
        "distill_loss": -(np.exp(log_softmax(scores)) * log_softmax(own)).sum(axis=1).mean(),
        "entropy": -(np.exp(log_softmax(scores)) * log_softmax(scores)).sum(axis=1).mean(),
    }


for prefix in (HIDDEN, 2):
    print(prefix, {name: round(float(value), 8) for name, value in losses(prefix).items()})
