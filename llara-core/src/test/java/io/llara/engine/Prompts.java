package io.llara.engine;

import io.llara.Mode;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** Prompts of all kinds with seeded random ids. */
final class Prompts {
  private Prompts() {}

  /** Returns a SELF, NEXT or joint prompt of one builder, or a plain one. */
  static Prompt any(Random random, int vocabulary, int longest) {
    int[] ids = ids(random, vocabulary, 1 + random.nextInt(longest));
    return switch (random.nextInt(4)) {
      case 0 -> builder(random, vocabulary).fromIds(ids, Mode.SELF);
      case 1 -> builder(random, vocabulary).fromIds(ids, Mode.NEXT);
      case 2 -> builder(random, vocabulary).jointFromIds(ids);
      default -> Prompt.plain(ids);
    };
  }

  static PromptBuilder builder(Random random, int vocabulary) {
    int pooled = 1 + random.nextInt(4);
    return PromptBuilder.ofIds(
        ids(random, vocabulary, random.nextInt(3)),
        ids(random, vocabulary, pooled + random.nextInt(5)),
        ids(random, vocabulary, pooled + random.nextInt(9)),
        pooled);
  }

  static int[] ids(Random random, int vocabulary, int length) {
    return random.ints(length, 0, vocabulary).toArray();
  }

  /** Returns plain prompts of given lengths. */
  static List<Prompt> plain(int... lengths) {
    List<Prompt> prompts = new ArrayList<>();
    for (int length : lengths) {
      prompts.add(Prompt.plain(new int[length]));
    }
    return prompts;
  }
}
