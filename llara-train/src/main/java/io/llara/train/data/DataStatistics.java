package io.llara.train.data;

/**
 * What a pass over a data set has met so far. An immutable value.
 *
 * @param lines lines read, good and bad
 * @param examples texts or pairs handed out
 * @param badLines lines that could not be used
 * @param shortDocuments documents that fill one passage or less, so that they give no text with a
 *     next one; none in files of pairs
 * @param otherPart lines that belong to the other side of the held-out split
 */
public record DataStatistics(
    long lines, long examples, long badLines, long shortDocuments, long otherPart) {}
