package io.llara.train.contrastive;

import com.google.common.collect.ImmutableList;
import io.llara.prompt.Prompt;
import io.llara.train.run.TrainingExample;
import java.util.List;
import java.util.stream.Stream;

/**
 * A query and its passages as prompts. Made by {@link PairCollator}. An immutable value.
 *
 * @param query the query
 * @param passages the positive passage first, then the negatives
 * @param teacher what a teacher says of them
 * @param origin where it was read, for messages
 */
record PairExample(Prompt query, List<Prompt> passages, SoftTargets teacher, String origin)
    implements TrainingExample {
  /** Copies the list. */
  public PairExample {
    passages = ImmutableList.copyOf(passages);
  }

  @Override
  public long tokens() {
    return Stream.concat(Stream.of(query), passages.stream()).mapToLong(Prompt::length).sum();
  }

  /** Returns the prompts of examples: all queries, then the passages of one after another. */
  static List<Prompt> prompts(List<PairExample> examples) {
    return Stream.concat(
            examples.stream().map(PairExample::query),
            examples.stream().flatMap(example -> example.passages().stream()))
        .toList();
  }
}
