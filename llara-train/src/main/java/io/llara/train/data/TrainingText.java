package io.llara.train.data;

/**
 * One training text and what its embeddings must predict, before tokenising. An immutable value.
 *
 * @param text the text
 * @param selfTarget the words that the SELF embedding must predict, joined by spaces; empty if
 *     there is none
 * @param nextTarget the words that the NEXT embedding must predict, joined by spaces; empty if
 *     there is none
 * @param origin where the text was read, for messages: {@code file:line}, or {@code file:line
 *     passage k}, both counted from 1
 */
public record TrainingText(String text, String selfTarget, String nextTarget, String origin) {}
